-- What an endpoint of the project's workflow $2 could start by, and a fresh id for it.
select meshhook_engine.uuid7() as id,
  (select array_to_string(array(
     select n ->> 'id' from jsonb_array_elements(coalesce(v.definition, w.draft) -> 'nodes') n
     where n ->> 'type' = 'webhook' order by 1), ' ')) as triggers,
  w.published_version is not null as published
from meshhook.workflows w
left join meshhook.versions v on v.workflow_id = w.id and v.version = w.published_version
where w.project_id = $1::uuid and w.name = $2
