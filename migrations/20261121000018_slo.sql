-- What is read from the metrics: objectives over weeks, and what a gateway serves to Prometheus.

-- Webhooks that the gateways took, and those that they could not through no fault of the sender,
-- as their heartbeats count them.
create function meshhook_engine.probe_intake()
returns table (metric text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select 'intake_' || k.name || '_total', coalesce(c.value, 0)::float8
      from (values ('accepted'), ('failed')) k(name)
      left join meshhook.counters c on c.metric = 'intake.' || k.name
        and c.project_id = '00000000-0000-0000-0000-000000000000';
end $$;
comment on function meshhook_engine.probe_intake() is
  'Webhooks that gateways answered with 2xx, and with 5xx.';

-- Objectives -----------------------------------------------------------------------------------

create function meshhook_engine.moved(p_before jsonb, p_after jsonb, variadic p_path text[]) returns float8
language sql immutable set search_path = '' as $$
  select case when v.after >= v.before then v.after - v.before else v.after end
    from (select coalesce((p_before #>> p_path)::float8, 0), coalesce((p_after #>> p_path)::float8, 0)) v(before, after)
$$;
comment on function meshhook_engine.moved(jsonb, jsonb, text[]) is
  'How far a counter got from one row of metrics to another; one that fell was reset and counts from 0.';

-- Counters are read at both ends of the time only, so that a month costs two rows a project. Where
-- nothing was measured before it, the first row of it is where counting begins, but for a project
-- that is younger, which began with 0. In an order of two columns a null is found by the index.
create function meshhook_engine.slo(p_project uuid, p_since timestamptz, p_target float8)
returns table (objective text, scope text, good float8, total float8, availability float8, target float8,
  budget_left float8, since timestamptz, until timestamptz)
language sql stable security definer set search_path = '' as $$
  with of_all as materialized (
    select coalesce(o.at, f.at, n.at) as since, n.at as until, coalesce(o.data, f.data, n.data) as before, n.data as after
      from (values (1)) one
      left join lateral (select m.at, m.data from meshhook.queue_metrics_minute m
        where m.project_id is null and m.at <= p_since order by m.project_id desc, m.at desc limit 1) o on true
      left join lateral (select m.at, m.data from meshhook.queue_metrics_minute m
        where m.project_id is null and m.at > p_since order by m.project_id, m.at limit 1) f on true
      left join lateral (select m.at, m.data from meshhook.queue_metrics m
        where m.project_id is null order by m.at desc limit 1) n on true),
  of_projects as materialized (
    select coalesce(
             (select m.data from meshhook.queue_metrics_minute m
               where m.project_id = p.id and m.at <= p_since order by m.at desc limit 1),
             case when p.created_at > p_since then '{}'::jsonb end,
             (select m.data from meshhook.queue_metrics_minute m
               where m.project_id = p.id and m.at > p_since order by m.at limit 1),
             (select m.data from meshhook.queue_metrics m where m.project_id = p.id order by m.at limit 1)) as before,
           coalesce(
             (select m.data from meshhook.queue_metrics m where m.project_id = p.id order by m.at desc limit 1),
             (select m.data from meshhook.queue_metrics_minute m
               where m.project_id = p.id order by m.at desc limit 1)) as after
      from meshhook.projects p where p_project is null or p.id = p_project),
  counted(objective, scope, good, total) as (
    select 'intake', 'installation', c.taken, c.taken + c.failed
      from of_all a, lateral (select meshhook_engine.moved(a.before, a.after, 'intake_accepted_total'),
        meshhook_engine.moved(a.before, a.after, 'intake_failed_total')) c(taken, failed)
    union all
    -- a run that failed by its own step did what it was asked; one that was given up did not
    select 'runs', case when p_project is null then 'installation' else 'project' end,
           coalesce(sum(c.ended - c.abandoned), 0), coalesce(sum(c.ended), 0)
      from of_projects p, lateral (
        select meshhook_engine.moved(p.before, p.after, 'runs_ended_total', 'succeeded')
                 + meshhook_engine.moved(p.before, p.after, 'runs_ended_total', 'failed')
                 + meshhook_engine.moved(p.before, p.after, 'runs_ended_total', 'cancelled'),
               meshhook_engine.moved(p.before, p.after, 'runs_abandoned_total')) c(ended, abandoned)
    union all
    select 'log_delivery', 'installation', count(*) filter (where (m.data ->> 'log_lag_seconds')::float8 < 5), count(*)
      from meshhook.queue_metrics_minute m
     where m.project_id is null and m.at > p_since and m.data ? 'log_lag_seconds')
  select c.objective, c.scope, c.good, c.total, c.good / nullif(c.total, 0), p_target,
         1 - (1 - c.good / nullif(c.total, 0)) / nullif(1 - p_target, 0), case when a.since is not null then greatest(a.since, p_since) end, a.until
    from counted c, of_all a
$$;
comment on function meshhook_engine.slo(uuid, timestamptz, float8) is 'slo for whoever may execute it.';

create function meshhook_engine.slo_as_member(p_project uuid, p_since timestamptz, p_target float8)
returns table (objective text, scope text, good float8, total float8, availability float8, target float8,
  budget_left float8, since timestamptz, until timestamptz)
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_project is null then
    raise exception 'name a project' using errcode = 'insufficient_privilege';
  end if;
  perform meshhook_engine.require_member(p_project, 'viewer');
  return query
    select s.objective, s.scope, case s.scope when 'project' then s.good end, case s.scope when 'project' then s.total end,
           s.availability, s.target, s.budget_left, s.since, s.until
      from meshhook_engine.slo(p_project, p_since, p_target) s;
end $$;
comment on function meshhook_engine.slo_as_member(uuid, timestamptz, float8) is
  'slo for a project''s members: of what is the whole installation''s they see the share, not the counts.';

create function meshhook.slo(project text default null, since timestamptz default now() - interval '30 days',
  target float8 default 0.999)
returns table (objective text, scope text, good float8, total float8, availability float8, target_share float8,
  budget_left float8, measured_since timestamptz, measured_until timestamptz)
language plpgsql stable set search_path = '' as $$
declare
  v_project uuid := case when $1 is not null then meshhook_engine.project_id($1) end;
begin
  if has_function_privilege('meshhook_engine.slo(uuid, timestamptz, float8)', 'execute') then
    return query select * from meshhook_engine.slo(v_project, $2, $3);
  else
    return query select * from meshhook_engine.slo_as_member(v_project, $2, $3);
  end if;
end $$;
comment on function meshhook.slo(text, timestamptz, float8) is
  'How available intake, runs and the delivery of logs were since then: good of total, their share, and how much of the budget of failures that the target leaves is left (below 0: overdrawn). Intake: webhooks not answered with 5xx; runs: those that the engine didn''t give up; log_delivery: minutes with a lag under 5 s. Viewers may, of their project; service_role of all of them.';

-- For Prometheus -------------------------------------------------------------------------------

create function meshhook_engine.scrape(p_by_project boolean)
returns table (metric text, project text, label_value text, value float8)
language sql stable security definer set search_path = '' as $$
  with newest as materialized (
    select m.at from meshhook.queue_metrics m order by m.at desc limit 1),
  measured as materialized (
    select m.project_id, d.key as metric, l.label_value, l.value
      from newest n join meshhook.queue_metrics m on m.at = n.at, jsonb_each(m.data) d, lateral (
        select null as label_value, d.value::float8 as value where jsonb_typeof(d.value) = 'number'
        union all
        select e.key, e.value::float8 from jsonb_each_text(
          case when jsonb_typeof(d.value) = 'object' then d.value else '{}' end) e) l)
  select x.metric, x.project, x.label_value, x.value from (
    select 'queue_metrics_age_seconds', null, null,
           extract(epoch from clock_timestamp() - n.at)::float8 from newest n
    union all
    select m.metric, null, m.label_value, m.value from measured m
     where m.project_id is null and m.metric <> 'database_bytes'
    union all
    select m.metric, p.slug, m.label_value, m.value
      from measured m join meshhook.projects p on p.id = m.project_id where p_by_project
    union all
    -- measured by the first tick of a minute
    select 'database_bytes', null, null, b.value
      from newest n, lateral (
        select (m.data ->> 'database_bytes')::float8 as value from meshhook.queue_metrics m
         where m.at > n.at - interval '70 seconds' and m.project_id is null and m.data ? 'database_bytes'
         order by m.at desc limit 1) b
    union all
    -- or of all projects together: the worst of times, the sum of the rest, ...
    select m.metric, null, case when m.metric <> 'delivery_failing' then m.label_value end, -- a tenant's word
           case when m.metric ~ '^oldest_|_seconds$' then max(m.value) else sum(m.value) end
      from measured m
     where not p_by_project and m.project_id is not null and m.metric not like '%\_total'
       and not exists (select from measured i where i.project_id is null and i.metric = m.metric
                          and i.label_value is not distinct from m.label_value)
     group by 1, 3
    union all
    -- ... and counts that don't fall when a project is quiet or gone
    select c.metric, null, c.label_value, c.value
      from meshhook_engine.counter_metrics('{00000000-0000-0000-0000-000000000000}') c
     where not p_by_project and exists (select from newest)
  ) x(metric, project, label_value, value)
  order by 1, 2 nulls first, 3 nulls first
$$;
comment on function meshhook_engine.scrape(boolean) is
  'The newest metrics and their age, as a gateway serves them: of all projects together, or by project.';
