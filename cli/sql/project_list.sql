select row_to_json(x)::text as record from (
  select p.id, p.slug, p.name, p.created_at,
    (select count(*) from meshhook.workflows w where w.project_id = p.id) as workflows,
    (select count(*) from meshhook.endpoints e where e.project_id = p.id) as endpoints
  from meshhook.projects p where p.id <> meshhook_engine.canary_id() order by p.slug
) x
