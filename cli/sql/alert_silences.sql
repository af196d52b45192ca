select row_to_json(x)::text as record from (
  select s.id, s.rule, p.slug as project, s.labels, s.starts_at, s.ends_at, s.created_by, s.comment
  from meshhook.silences s left join meshhook.projects p on p.id = s.project_id
  where s.ends_at > now() and ($1::uuid is null or s.project_id is null or s.project_id = $1::uuid)
  order by s.ends_at, s.id
) x
