-- Leading, measuring, keeping; and what a run waits for.
\i tests/pgtap/fixture.psql
select no_plan();

-- Leading ------------------------------------------------------------------------------------

create temp table m (name text primary key, id uuid default gen_random_uuid());
insert into m (name) values ('one'), ('two');
create function pg_temp.m(name_ text) returns uuid language sql stable as
  $$select id from m where name = name_$$;
update meshhook_engine.leader set holder = null, fence = 10, until = '-infinity';

select is(meshhook_engine.lead(pg_temp.m('one'), '1 hour'), 11::bigint, 'the first one leads');
select is(meshhook_engine.lead(pg_temp.m('two'), '1 minute'), null, 'another waits');
select is(meshhook_engine.lead(pg_temp.m('one'), '1 hour'), 11::bigint, 'the same reign goes on');
select lives_ok($$select meshhook_engine.check_fence(11)$$, 'its fence is good');
update meshhook_engine.leader set until = clock_timestamp() - interval '1 ms';
select throws_ok($$select meshhook_engine.check_fence(11)$$, 'MH002', null, 'a lease that ran out is none');
select is(meshhook_engine.lead(pg_temp.m('two'), '1 hour'), 12::bigint, 'another takes over');
select is(meshhook_engine.lead(pg_temp.m('one'), '1 minute'), null, 'the first one has to wait now');
select throws_ok($$select meshhook_engine.check_fence(11)$$, 'MH002', null, 'and its fence is void');
select throws_ok($$select meshhook_engine.roll_up_metrics(11)$$, 'MH002', null, 'so is what it would write');
select meshhook_engine.step_down(pg_temp.m('one'));
select lives_ok($$select meshhook_engine.check_fence(12)$$, 'only who leads steps down');
select meshhook_engine.step_down(pg_temp.m('two'));
select is(meshhook_engine.lead(pg_temp.m('one'), '1 hour'), 13::bigint, 'then the next one needn''t wait');

-- A tick -------------------------------------------------------------------------------------

select meshhook_engine.ensure_partitions() \g /dev/null
create temp table got as select * from meshhook_engine.tick(pg_temp.m('one'), '1 hour');
select is((select count(*) from meshhook_engine.tick(pg_temp.m('two'), '1 minute')), 0::bigint,
  'who doesn''t lead measures nothing');
create function pg_temp.value(metric_ text, project_ text default null, label_ text default null)
returns float8 language sql stable as
  $$select value from got where metric = metric_ and label_value is not distinct from label_
    and project is not distinct from (select id from meshhook.projects where slug = project_)$$;
select is((select distinct fence from got), 13::bigint, 'each row has the fence');
select is(pg_temp.value('arrivals_total', 'test-alpha'), 1::float8, 'runs that came in');
select is(pg_temp.value('runs_running', 'test-alpha'), 1::float8, 'runs that go on');
select is(pg_temp.value('log_lines_total', 'test-alpha'), 2::float8, 'lines: the run''s first, and a service''s');
select cmp_ok(pg_temp.value('queue_visible'), '>=', 2::float8, 'what is ready');
select cmp_ok(pg_temp.value('oldest_age', null, 'work'), '<', 3600::float8, 'for how long');
select cmp_ok(pg_temp.value('queue_delayed'), '>=', 2::float8, 'what waits for a moment');
select cmp_ok(pg_temp.value('workers_alive', null, 'worker'), '>=', 1::float8, 'who works');
select is(pg_temp.value('partitions_ahead', null, 'logs'), 3::float8, 'months ahead');
select ok(pg_temp.value('pg_connections_used') between 0.001 and 1, 'the share of connections');
select is((select count(*) from got where label is null and value is null), 0::bigint, 'no value is none');
select is((select data -> 'oldest_age' ->> 'timers' is not null and data ? 'queue_visible'
    from meshhook.queue_metrics where project_id is null order by at desc limit 1), true, 'it is kept');
select is((select data ->> 'arrivals_total' from meshhook.queue_metrics
    where project_id = pg_temp.project('test-alpha') and data ? 'arrivals_total'), '1', 'by project, too');

select meshhook_engine.compact_counters();
insert into meshhook.counters (project_id, metric, value) values (pg_temp.project('test-alpha'), 'backlog', 3)
  on conflict (project_id, metric) do update set value = 3;
update meshhook.counters set updated_at = now() - interval '1 day';
create function pg_temp.told() returns bigint language sql as $$select count(*) from meshhook_engine.probe_projects(now())
  where project = pg_temp.project('test-alpha') and metric = 'queue_backlog'$$;
select is(pg_temp.told(), 1::bigint, 'a project of which something waits is never left out');
update meshhook.counters set value = 0 where metric = 'backlog';
select is(pg_temp.told(), 0::bigint, 'a quiet one is, after an hour');

-- Looking back ---------------------------------------------------------------------------------

delete from meshhook.queue_metrics;
insert into meshhook.queue_metrics
  select now() - i * interval '5 s', p, jsonb_build_object('x_total', i, 'age', jsonb_build_object('work', i, 'timers', 0), 'y', 7)
    from generate_series(1, 4) i, (values (null::uuid), (pg_temp.project('test-alpha'))) v(p);
create function pg_temp.history(from_ int, to_ int) returns text language sql as $$
  select string_agg(concat_ws(' ', round(extract(epoch from now() - h.at)), h.metric, p.slug, h.label_value, h.value), ', '
           order by h.at, h.metric, p.slug nulls first, h.label_value)
    from meshhook_engine.metric_history('{x_total,age,none}', array[now() - interval '15 s', now() - interval '5 s', now()],
      now() - from_ * interval '1 s', now() - to_ * interval '1 s') h
    left join meshhook.projects p on p.id = h.project $$;
select is(pg_temp.history(20, 10), '15 x_total 3, 15 x_total test-alpha 3', 'a page, each metric since its own moment');
select is(pg_temp.history(7, 0), '5 age timers 0, 5 age work 1, 5 age test-alpha timers 0, 5 age test-alpha work 1,'
  ' 5 x_total 1, 5 x_total test-alpha 1', 'with labels'' values');

-- Minutes ------------------------------------------------------------------------------------

delete from meshhook.queue_metrics;
delete from meshhook.queue_metrics_minute;
insert into meshhook.queue_metrics
  select date_trunc('minute', now()) - interval '3 minutes' + s * interval '20 s', p,
         jsonb_build_object('depth', s, 'x_total', 100 + s, 'age', jsonb_build_object('work', s * 2, 'p95', s * 2))
    from generate_series(0, 5) s, (values (null::uuid), (pg_temp.project('test-alpha'))) v(p);
select is(meshhook_engine.roll_up_metrics(13), 4, 'two minutes of two are made');
select is(meshhook_engine.roll_up_metrics(13), 0, 'once');
select is((select jsonb_agg(data order by at) from meshhook.queue_metrics_minute where project_id is null),
  '[{"depth": 1.0, "x_total": 102, "age": {"p95": 4, "work": 2.0}}, {"depth": 4.0, "x_total": 105, "age": {"p95": 10, "work": 8.0}}]',
  'the mean of levels, the last of counts, the highest of percentiles');

-- Explaining ---------------------------------------------------------------------------------

create temp table a_run as select id, project_id from meshhook.runs where project_id = pg_temp.project('test-alpha');
create function pg_temp.cause() returns text language sql as
  $$select meshhook.explain((select id from a_run)) ->> 'cause'$$;
create function pg_temp.because() returns text language sql as
  $$select meshhook.explain((select id from a_run)) ->> 'text'$$;
delete from meshhook_engine.timers where run_id = (select id from a_run);
select is(pg_temp.cause(), 'ready', 'a message that nobody took yet');
update meshhook.workers set seen_at = now() - interval '1 minute';
select is(pg_temp.cause(), 'no_worker', 'and nobody is there to take it');
select matches(pg_temp.because(), 'no worker has reported for (6[0-9]|[7-9][0-9]|[1-9][0-9][0-9]) s', 'for so long');
delete from meshhook.workers;
select matches(pg_temp.because(), 'no worker has ever reported', 'or never was');
update pgmq.q_mh_work set vt = clock_timestamp() + interval '20 s', read_ct = 1
  where message ->> 'r' = (select id::text from a_run);
select is(pg_temp.cause(), 'in_flight', 'leased to a worker');
select matches(pg_temp.because(), 'step call, attempt 1; if it dies, another begins in (1[0-9]|20) s', 'and until when');
with gone as (delete from pgmq.q_mh_work where message ->> 'r' = (select id::text from a_run) returning message)
insert into meshhook_engine.backlog (project_id, message) select (select project_id from a_run), message from gone;
select meshhook_engine.heartbeat(gen_random_uuid(), 'worker', 'here', 1, '1');
select is(pg_temp.cause(), 'window_full', 'in the backlog');
select matches(pg_temp.because(), 'window \(1000\) is full: 1 before it', 'with what is before it');
insert into meshhook.queue_metrics values
  (clock_timestamp() - interval '60 s', (select project_id from a_run), '{"steps_total": 100}'),
  (clock_timestamp(), (select project_id from a_run), '{"steps_total": 131}');
select is(meshhook.explain((select id from a_run)) -> 'seconds', '4', 'two at a step each two seconds');
delete from meshhook_engine.backlog where message ->> 'r' = (select id::text from a_run);
select is(pg_temp.cause(), 'unknown', 'what is nowhere is said to be');
insert into meshhook_engine.timers (run_id, kind, step, attempt, due_at, project_id, message)
  select id, 'delay', 'nap', 1, '2030-01-01 12:04:10Z', project_id, '{}' from a_run;
select is(pg_temp.because(), 'step nap waits until 2030-01-01 12:04:10 UTC', 'a delay');
update meshhook_engine.timers set kind = 'retry', step = 'call', attempt = 3 where run_id = (select id from a_run);
insert into meshhook.run_events (run_id, seq, project_id, type, payload)
  select id, 50, project_id, 'step.failed', '{"step": "call", "attempt": 2, "code": "HTTP503"}' from a_run;
select is(pg_temp.because(), 'attempt 3 of step call at 2030-01-01 12:04:10 UTC, because of HTTP503', 'a retry, and why');
select meshhook.cancel_run((select id from a_run));
select is(pg_temp.cause(), 'ended', 'and its end');

select * from finish();
