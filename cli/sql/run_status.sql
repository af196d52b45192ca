select row_to_json(x)::text as record from (
  select r.id as run_id, r.status, w.name as workflow, v.version, r.created_at, r.ended_at, r.error
  from meshhook.runs r
  join meshhook.workflows w on w.id = r.workflow_id
  join meshhook.versions v on v.id = r.version_id
  where r.id = $1::uuid
) x
