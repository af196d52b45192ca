select row_to_json(x)::text as record from (
  select r.id, r.status, w.name as workflow, v.version, p.slug as project, r.trigger,
    r.created_at, r.ended_at,
    extract(epoch from coalesce(r.ended_at, now()) - r.created_at)::numeric(12, 3) as seconds,
    r.last_seq as events, r.log_seq as lines, r.error,
    (select coalesce(json_agg(json_build_object('step', s.step, 'status', s.status,
         'attempt', s.attempt) order by n.at, s.step), '[]')
       from (select * from meshhook.steps s where s.run_id = r.id and s.step <> '$end'
             limit 1000) s
       left join jsonb_array_elements(v.definition -> 'nodes') with ordinality n (node, at)
         on n.node ->> 'id' = s.step) as steps
  from meshhook.runs r
  join meshhook.workflows w on w.id = r.workflow_id
  join meshhook.versions v on v.id = r.version_id
  join meshhook.projects p on p.id = r.project_id
  where r.id = $1::uuid
) x
