-- $1 project or null: all, $2 state or null, $3 how many
select row_to_json(x)::text as record from (
  select o.id, o.state, c.name as channel, o.kind, o.body->>'status' as status, o.attempts, o.again,
    o.status as answer, o.problem, o.group_key as group, o.created_at, o.ended_at,
    case when o.state = 'queued' then o.due_at end as due_at
  from meshhook.outbox o join meshhook.alert_channels c on c.id = o.channel_id
  where ($1::uuid is null or o.project_id = $1::uuid) and ($2::text is null or o.state = $2)
  order by o.id desc limit $3
) x
