-- $1 project or null: all
select row_to_json(x)::text as record from (
  select c.name, c.kind, p.slug as project, case when c.enabled then 'on' else 'off' end as state, c.target,
    c.min_severity, c.group_by, c.wait_ms, c.interval_ms, c.repeat_ms, c.per_minute, c.id,
    (select count(*) from meshhook.outbox o where o.channel_id = c.id and o.state in ('queued', 'sending')) as waiting,
    (select count(*) from meshhook.outbox o where o.channel_id = c.id and o.state = 'dead') as dead,
    (select max(o.ended_at) from meshhook.outbox o where o.channel_id = c.id and o.state = 'sent') as sent_at
  from meshhook.alert_channels c left join meshhook.projects p on p.id = c.project_id
  where $1::uuid is null or c.project_id is null or c.project_id = $1::uuid
  order by p.slug nulls first, c.name
) x
