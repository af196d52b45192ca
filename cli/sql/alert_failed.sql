-- $1 workflow, $2 ms back: its failed runs; of those that began within so long, and a day before
select row_to_json(x)::text as record from (
  select r.ended_at as fired_at, 1 as value, p.slug as project, jsonb_strip_nulls(jsonb_build_object(
    'run', r.id, 'step', r.error->>'step', 'code', r.error->>'code')) as labels
  from meshhook.runs r join meshhook.projects p on p.id = r.project_id
  where r.workflow_id = $1::uuid and r.status = 'failed' and r.ended_at > now() - $2 * interval '1 millisecond'
    and r.id > meshhook_engine.uuid7_floor(now() - $2 * interval '1 millisecond' - interval '1 day')
  order by r.ended_at limit 1000
) x
