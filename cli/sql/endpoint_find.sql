-- $1 project, $2 endpoint: what a command needs to sign for it, or to change it.
select e.id, e.secret_version, e.scheme, '/hooks/' || p.slug || '/' || e.slug as path,
  (select s.sealed from meshhook_engine.endpoint_secrets s where s.endpoint_id = e.id
     and s.secret_version = e.secret_version) as sealed
from meshhook.endpoints e join meshhook.projects p on p.id = e.project_id
where e.project_id = $1::uuid and (e.slug = $2 or e.id::text = $2)
