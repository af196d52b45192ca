select row_to_json(x)::text as record from (
  select e.id, e.slug, w.name as workflow, e.trigger, e.scheme ->> 'type' as scheme, e.enabled, e.secret_version,
    '/hooks/' || p.slug || '/' || e.slug as path, e.max_body_bytes, e.created_at
  from meshhook.endpoints e
  join meshhook.workflows w on w.id = e.workflow_id
  join meshhook.projects p on p.id = e.project_id
  where e.project_id = $1::uuid order by e.slug
) x
