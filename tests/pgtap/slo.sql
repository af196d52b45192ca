-- Objectives, what gateways count for them, and what is served to Prometheus.
\i tests/pgtap/fixture.psql
select no_plan();

-- Webhooks, as heartbeats count them ----------------------------------------------------------
create temp table g as select gen_random_uuid() as id, '00000000-0000-0000-0000-000000000000'::uuid as everybody;
delete from meshhook_engine.counter_deltas;
delete from meshhook.counters;
create function pg_temp.beat(counted_ int, told_ int default 0, kind_ text default 'gateway') returns void language sql as
  $$select meshhook_engine.heartbeat(g.id, kind_, 'h', 1, 'v', false, jsonb_build_object(
      'counted', jsonb_build_object('intake.accepted', counted_, 'intake.failed', 1, 'run.started', 99),
      'told', jsonb_build_object('intake.accepted', told_, 'intake.failed', 1))) from g$$;
create function pg_temp.taken() returns text language sql as
  $$select meshhook_engine.compact_counters();
    select string_agg(metric || '=' || value, ' ' order by metric) from meshhook_engine.probe_intake()$$;
select pg_temp.beat(3, 0);
select is(pg_temp.taken(), 'intake_accepted_total=3 intake_failed_total=0', 'what is new to it: failed was told before');
select pg_temp.beat(3, 0);
select is(pg_temp.taken(), 'intake_accepted_total=3 intake_failed_total=0', 'nothing new counts nothing');
select pg_temp.beat(10, 0);
select is(pg_temp.taken(), 'intake_accepted_total=10 intake_failed_total=0', 'what the row says, not what was thought to be told');
delete from meshhook.workers where id = (select id from g);
select pg_temp.beat(12, 10);
select is(pg_temp.taken(), 'intake_accepted_total=12 intake_failed_total=0', 'a row that was cleared doubles nothing');
select pg_temp.beat(99, 0, 'worker');
select is(pg_temp.taken(), 'intake_accepted_total=12 intake_failed_total=0', 'others don''t count webhooks');
select is((select count(*) from meshhook.counters where metric = 'run.started'), 0::bigint, 'and nobody counts anything else');

-- Counters of all projects --------------------------------------------------------------------
insert into meshhook_engine.counter_deltas (project_id, metric, delta)
  select pg_temp.project(p), m, 5 from unnest('{test-alpha,test-beta}'::text[]) p, unnest('{step.succeeded,step.failed}'::text[]) m;
select meshhook_engine.compact_counters();
select is((select value from meshhook.counters, g where project_id = everybody and metric = 'step.failed'), 10::bigint,
  'are the sum of each one''s');
select is((select value from meshhook.counters, g where project_id = everybody and metric = 'intake.accepted'), 12::bigint,
  'and what was counted for all counts once');
delete from meshhook.counters where project_id = pg_temp.project('test-beta');
select is((select value from meshhook_engine.counter_metrics(array[(select everybody from g)]) where metric = 'steps_total'),
  20::float8, 'and don''t fall with a project');
select is((select string_agg(concat_ws(' ', metric, label_value, value), ', ' order by metric, label_value)
  from meshhook_engine.counter_metrics(array[pg_temp.project('test-beta')])),
  'arrivals_total 0, broadcast_failures_total 0, broadcasts_total 0, log_lines_total 0, retries_total 0, runs_abandoned_total 0,'
  ' runs_ended_total cancelled 0, runs_ended_total failed 0, runs_ended_total succeeded 0, runs_failed_total 0,'
  ' step_failures_total 0, steps_total 0', 'what never happened happened 0 times: a first time can be told');
select is((select count(*) from meshhook_engine.probe_projects(clock_timestamp()), g where project = everybody), 0::bigint,
  'they are no project''s');

-- Objectives ----------------------------------------------------------------------------------
delete from meshhook.queue_metrics;
delete from meshhook.queue_metrics_minute;
create function pg_temp.slo(project_ text, since_ interval) returns table (o text, s text, good_ float8, total_ float8, left_ numeric)
language sql as $$select objective, scope, good, total, round(budget_left::numeric, 3)
  from meshhook.slo(project_, now() - since_) order by objective$$;
select results_eq($$select * from pg_temp.slo(null, '30 days')$$, $$values
  ('intake', 'installation', 0::float8, 0::float8, null::numeric), ('log_delivery', 'installation', 0, 0, null),
  ('runs', 'installation', 0, 0, null)$$, 'nothing measured is nothing known');

-- test-alpha is older than what is asked for, test-beta younger
update meshhook.projects set created_at = now() - interval '1 year' where slug = 'test-alpha';
update meshhook.projects set created_at = now() - interval '59 min' where slug = 'test-beta';
create function pg_temp.minute(ago_ interval, project_ text, data_ jsonb) returns void language sql as
  $$insert into meshhook.queue_metrics_minute values (now() - ago_, pg_temp.project(project_), data_)$$;
create function pg_temp.runs(ok_ int, failed_ int, abandoned_ int) returns jsonb language sql as
  $$select jsonb_build_object('runs_ended_total', jsonb_build_object('succeeded', ok_, 'failed', failed_),
      'runs_abandoned_total', abandoned_)$$;
select pg_temp.minute('90 min', 'test-alpha', pg_temp.runs(1000, 10, 4)),
       pg_temp.minute('30 min', 'test-alpha', pg_temp.runs(1500, 20, 5)),
       pg_temp.minute('10 min', 'test-alpha', pg_temp.runs(1980, 30, 6)),
       pg_temp.minute('20 min', 'test-beta', pg_temp.runs(900, 100, 0)),
       pg_temp.minute('90 min', null, '{"intake_accepted_total": 100, "intake_failed_total": 50, "log_lag_seconds": 9}'),
       pg_temp.minute('50 min', null, '{"intake_accepted_total": 5000, "intake_failed_total": 50, "log_lag_seconds": 0.1}'),
       pg_temp.minute('40 min', null, '{"intake_accepted_total": 6000, "intake_failed_total": 50, "log_lag_seconds": 5}'),
       pg_temp.minute('30 min', null, '{"intake_accepted_total": 7000, "intake_failed_total": 50, "log_lag_seconds": 4.9}'),
       pg_temp.minute('20 min', null, '{"intake_accepted_total": 8000, "intake_failed_total": 51}');
insert into meshhook.queue_metrics values
  (now(), null, '{"intake_accepted_total": 10096, "intake_failed_total": 54}'),
  (now(), pg_temp.project('test-beta'), pg_temp.runs(1000, 100, 1));
select results_eq($$select * from pg_temp.slo(null, '1 hour')$$, $$values
  ('intake', 'installation', 9996::float8, 10000::float8, 0.600), -- 4 of 10
  ('log_delivery', 'installation', 2, 3, -332.333),
  ('runs', 'installation', 998 + 1099, 1000 + 1100, -0.429)$$, 'of both ends of the hour, of all projects');
select results_eq($$select * from pg_temp.slo('test-alpha', '1 hour')$$, $$values
  ('intake', 'installation', 9996::float8, 10000::float8, 0.600), ('log_delivery', 'installation', 2, 3, -332.333),
  ('runs', 'project', 998, 1000, -1.000)$$, 'of one project its own runs');
select results_eq($$select * from pg_temp.slo('test-alpha', '2 hours') where o = 'runs'$$, $$values
  ('runs', 'project', 998::float8, 1000::float8, -1.000)$$, 'an older project counts from the first that is known');
select is((select measured_since from meshhook.slo(null, now() - interval '2 hours') where objective = 'runs'),
  now() - interval '90 min', 'which it says');
select is((select budget_left from meshhook.slo('test-alpha', now() - interval '1 hour', 0.99) where objective = 'runs')::numeric(9, 3),
  0.800, 'another target leaves another budget');
insert into meshhook.queue_metrics values (now() + interval '1 s', pg_temp.project('test-alpha'), pg_temp.runs(40, 9, 1));
select results_eq($$select * from pg_temp.slo('test-alpha', '1 hour') where o = 'runs'$$, $$values
  ('runs', 'project', 48::float8, 49::float8, -19.408)$$, 'counters that fell count from 0');

select pg_temp.become('viewer');
select results_eq($$select * from pg_temp.slo('test-alpha', '1 hour')$$, $$values
  ('intake', 'installation', null::float8, null::float8, 0.600), ('log_delivery', 'installation', null, null, -332.333),
  ('runs', 'project', 48, 49, -19.408)$$, 'a member sees no counts of the installation');
select throws_ok($$select * from meshhook.slo('test-beta')$$, 'PT404', null, 'and nothing of another''s project');
select throws_ok($$select * from meshhook.slo()$$, '42501', null, 'nor of all of them');
select pg_temp.become_owner();

-- A scrape ------------------------------------------------------------------------------------
delete from meshhook.queue_metrics;
select is((select count(*) from meshhook_engine.scrape(false)), 0::bigint, 'nothing was ever measured');
insert into meshhook.queue_metrics values
  (now() - interval '1 h', null, '{"queue_visible": 999}'),
  (now() - interval '70 s', null, '{"database_bytes": 77}'),
  (now() - interval '10 s', null, '{"queue_visible": 3, "oldest_age": {"work": 1.5}, "step_wait_seconds": {"p95": 0.2}}'),
  (now() - interval '10 s', pg_temp.project('test-alpha'),
   '{"queue_backlog": 3, "oldest_age": {"backlog": 4}, "steps_total": 7, "step_wait_seconds": {"p95": 0.1}}'),
  (now() - interval '10 s', pg_temp.project('test-beta'), '{"queue_backlog": 4, "oldest_age": {"backlog": 2}, "steps_total": 8,
   "delivery_failing": {"mine": 1, "ours": 1}}'),
  (now() - interval '20 s', pg_temp.project('test-beta'), '{"queue_backlog": 100}');
create function pg_temp.scraped(by_project boolean) returns text language sql as
  $$select string_agg(concat_ws(' ', metric, project, label_value, value), ', ' order by metric, project nulls first, label_value nulls first)
      from meshhook_engine.scrape(by_project)
     where metric in ('database_bytes', 'delivery_failing', 'queue_visible', 'queue_backlog', 'oldest_age', 'steps_total', 'step_wait_seconds')$$;
select is(pg_temp.scraped(false), 'database_bytes 77, delivery_failing 2, oldest_age backlog 4, oldest_age work 1.5, queue_backlog 7, queue_visible 3,'
  ' step_wait_seconds p95 0.2, steps_total 20', 'the newest, of all projects together');
select is(pg_temp.scraped(true), 'database_bytes 77, delivery_failing test-beta mine 1, delivery_failing test-beta ours 1, oldest_age work 1.5, oldest_age test-alpha backlog 4, oldest_age test-beta backlog 2,'
  ' queue_backlog test-alpha 3, queue_backlog test-beta 4, queue_visible 3, step_wait_seconds p95 0.2,'
  ' step_wait_seconds test-alpha p95 0.1, steps_total test-alpha 7, steps_total test-beta 8', 'or by project');
select cmp_ok((select value from meshhook_engine.scrape(false) where metric = 'queue_metrics_age_seconds'), '>=', 10::float8,
  'with its age');
select is((select count(*) from meshhook_engine.scrape(false) where project is not null), 0::bigint, 'no tenant is named unasked');

select * from finish();
