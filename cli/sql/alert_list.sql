-- $1 project or null: all; $2 whether those that resolved in the last day are wanted, too
select row_to_json(x)::text as record from (
  select a.id, a.state, r.severity, r.name as rule, p.slug as project, a.labels, a.value, a.since, a.fired_at,
    a.resolved_at, a.acked_at, a.acked_by, a.note
  from meshhook.alerts a join meshhook.alert_rules r on r.id = a.rule_id
    left join meshhook.projects p on p.id = a.project_id
  where ($1::uuid is null or a.project_id = $1::uuid)
    and (a.state <> 'resolved' or $2 and a.resolved_at > now() - interval '1 day')
  order by array_position('{firing,pending,resolved}'::text[], a.state),
    array_position('{critical,warning,info}'::text[], r.severity), a.since desc, a.id
) x
