-- Each project's admitted and waiting messages; a backlog is counted up to 10,000.
select coalesce(json_agg(x order by x.project), '[]')::text as record from (
  select p.slug as project, p.window_size as window,
    coalesce((select sum(a.queued) from meshhook_engine.admission a where a.project_id = p.id), 0) as queued,
    (select count(*) from (select from meshhook_engine.backlog b where b.project_id = p.id limit 10001) b) as backlog
  from meshhook.projects p where p.id <> meshhook_engine.canary_id()
) x
