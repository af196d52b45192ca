select row_to_json(x)::text as record from (
  select w.id, w.name, w.published_version as version, v.published_at, w.updated_at,
    v.definition is distinct from w.draft as draft_differs
  from meshhook.workflows w
  left join meshhook.versions v on v.workflow_id = w.id and v.version = w.published_version
  where w.project_id = $1::uuid order by w.name
) x
