-- $1 project or null: all, $2 rule or null, $3 ms back, $4 how many
select row_to_json(x)::text as record from (
  select h.at, h.rule, h.change, h.severity, p.slug as project, h.labels, h.value, h.actor, h.alert_id as alert
  from meshhook.alert_history h left join meshhook.projects p on p.id = h.project_id
  where ($1::uuid is null or h.project_id = $1::uuid) and ($2::text is null or h.rule = $2)
    and h.at > now() - $3 * interval '1 millisecond'
  order by h.at desc, h.id desc limit $4
) x
