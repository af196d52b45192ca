-- $1 project or null: all
select row_to_json(x)::text as record from (
  select r.name, p.slug as project, case when not r.enabled then 'off' when r.problem is not null then 'failed'
      when exists (select from meshhook.alerts a where a.rule_id = r.id and a.state = 'firing') then 'firing'
      else 'ok' end as state,
    r.severity, r.expr, r.hold_s, r.keep_s, r.labels, r.inhibited_by, r.summary, r.description, r.runbook,
    r.problem
  from meshhook.alert_rules r left join meshhook.projects p on p.id = r.project_id
  where $1::uuid is null or r.project_id is null or r.project_id = $1::uuid
  order by p.slug nulls first, r.name
) x
