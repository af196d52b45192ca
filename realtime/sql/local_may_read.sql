-- $1 id of the probe, $2 its topic
select exists (select from realtime.messages m where m.id = $1 and m.topic = $2) as may;
