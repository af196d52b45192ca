-- $1 message; leads: somebody does
select row_to_json(x)::text as record from (
  select c.name as channel, o.id as message, o.state, o.attempts, o.status as answer, o.problem,
    round(extract(epoch from o.ended_at - o.created_at) * 1000) as ms,
    exists (select from meshhook_engine.leader l where l.until > now()) as leads
  from meshhook.outbox o join meshhook.alert_channels c on c.id = o.channel_id where o.id = $1
) x
