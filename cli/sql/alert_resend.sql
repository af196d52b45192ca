-- $1 message or null, $2 project or null and $3 channel or null: all of its messages that were given up
select row_to_json(x)::text as record from (
  select r.message, c.name as channel, o.group_key as group, r.outcome
  from meshhook_engine.resend($1, (select c.id from meshhook.alert_channels c
    where c.name = $3 and c.project_id is not distinct from $2::uuid)) r
  join meshhook.outbox o on o.id = r.message join meshhook.alert_channels c on c.id = o.channel_id
  order by r.message
) x
