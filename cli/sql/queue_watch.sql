-- $1 what was measured after that, at most a minute of it; a row of `now` always comes first
select null::timestamptz as at, null::text as project, null::text as data, clock_timestamp() as now,
  (select max(m.at) from meshhook.queue_metrics m) as newest,
  (select coalesce(jsonb_object_agg(coalesce(a.slug, ''), a.n), '{}') from (
     select p.slug, count(*) as n from meshhook.alerts a left join meshhook.projects p on p.id = a.project_id
     where a.state = 'firing' group by p.slug) a)::text as firing
union all
select m.at, coalesce(p.slug, m.project_id::text, ''), m.data::text, null, null, null
from meshhook.queue_metrics m left join meshhook.projects p on p.id = m.project_id
where m.at > greatest($1, now() - interval '65 seconds')
order by at nulls first
