-- Keeping: months that go, archived before; counters held against what they count; the chores.
\i tests/pgtap/fixture.psql
select no_plan();
update meshhook_engine.leader set holder = gen_random_uuid(), fence = 50, until = clock_timestamp() + interval '1 hour';

update meshhook_engine.retention set settled = null, ended_before = null;

-- A past with three months of two runs each, of which the newest has one that goes on.
create temp table past (id uuid, month date, status text);
insert into past select overlay(meshhook_engine.uuid7_floor(t + n * interval '1 day')::text placing '7' from 15 for 1)::uuid,
    date_trunc('month', t at time zone 'UTC')::date,
    case when t > '2001-03-01' and n = 1 then 'running' else 'succeeded' end
  from (values ('2001-01-05 00:00Z'::timestamptz), ('2001-02-05 00:00Z'), ('2001-03-05 00:00Z')) v(t), generate_series(1, 2) n;
insert into meshhook.runs (id, project_id, workflow_id, version_id, trigger, last_seq, status)
  select id, pg_temp.project('test-alpha'), gen_random_uuid(), gen_random_uuid(), 't', 2, status from past;
select sum(meshhook_engine.ensure_month(m)) from (select distinct month as m from past) x \g /dev/null
insert into meshhook.run_events (run_id, seq, project_id, type, payload)
  select id, s, pg_temp.project('test-alpha'), 'run.started', '{"text": "a\nb", "n": 12345678901234567890.5}' from past, generate_series(1, 2) s;
insert into meshhook.logs (channel_id, seq, project_id, ts, level, message)
  select id, 1, pg_temp.project('test-alpha'), meshhook_engine.uuid7_time(id), 9, 'line' from past;
insert into meshhook.steps (run_id, project_id, step, status) select id, pg_temp.project('test-alpha'), 's', 'succeeded' from past;
insert into meshhook_engine.deliveries (endpoint_id, dedupe_key, run_id) select gen_random_uuid(), 'k', id from past;
create function pg_temp.there(month_ text) returns text language sql as $$
  select concat_ws(' ', to_regclass('meshhook_engine.run_events_' || month_) is not null,
    to_regclass('meshhook_engine.logs_' || month_) is not null,
    (select count(*) from meshhook.runs join past using (id) where to_char(month, 'YYYY_MM') = month_),
    (select count(*) from meshhook.steps join past on id = run_id where to_char(month, 'YYYY_MM') = month_),
    (select count(*) from meshhook_engine.deliveries join past on id = run_id where to_char(month, 'YYYY_MM') = month_)) $$;
create function pg_temp.retention() returns text language plpgsql as $$
declare
  v_all text := '';
  v record;
begin
  for i in 1 .. 20 loop
    select * into v from meshhook_engine.upkeep(50, 'retention');
    v_all := concat_ws(' ', nullif(v_all, ''), v.done);
    exit when not v.more;
  end loop;
  return v_all;
end $$;
-- Archive what is next, as the monitor does; slices of one row.
create function pg_temp.archive(skip_ int default 0) returns text language plpgsql as $$
declare
  v record; v_row record; v_n int := 0;
begin
  select * into v from meshhook_engine.archive_next(50, '/archive');
  if not found then return null; end if;
  loop
    select max(upto) as upto, count(*) as n into v_row from meshhook_engine.archive_slice(50, v.name, v.cursor, 1, 100);
    exit when v_row.n = 0;
    perform meshhook_engine.archive_part(50, v.id, 'part-' || v_n, v_row.upto, v_row.n - skip_, 10, 'x');
    v.cursor := v_row.upto;
    v_n := v_n + 1;
  end loop;
  perform meshhook_engine.archive_done(50, v.id, 'y');
  return v.name || ' ' || v_n;
end $$;

-- What has ended --------------------------------------------------------------------------------

create function pg_temp.settled(limit_ int) returns text language sql as $$
  select meshhook_engine.settle_runs(limit_);
  select coalesce((select to_char(p.month, 'YYYY-MM ') || p.status from past p where p.id = r.ended_before), 'now')
    from meshhook_engine.retention r $$;
select is(pg_temp.settled(2), '2001-01 succeeded', 'some runs at a time');
select ok(not meshhook_engine.month_ended('2001-01-01'), 'what was not looked at may go on');
select is(pg_temp.settled(2), '2001-02 succeeded', 'and some more');
select ok(meshhook_engine.month_ended('2001-01-01') and not meshhook_engine.month_ended('2001-02-01'), 'month by month');
select is(pg_temp.settled(100), '2001-03 running', 'up to the first one that goes on');
select is(pg_temp.settled(10), '2001-03 running', 'which is waited for');
savepoint s;
update meshhook.runs set status = 'failed' where id in (select id from past);
select is(pg_temp.settled(100), 'now', 'or up to now');
rollback to s;

-- Nothing goes unless it is asked for ----------------------------------------------------------

select is_empty('select * from meshhook_engine.expired_months()', 'all is kept, for ever, unless somebody says otherwise');
select is(pg_temp.retention(), '0', 'so nothing is dropped');
select is((select count(*) from meshhook_engine.archive_next(50, '/archive')), 0::bigint, 'and nothing archived');
select throws_ok($$select meshhook_engine.set_retention(-1, null)$$, '23514', null, 'no negative months');
select meshhook_engine.set_retention(12, null);
select is((select string_agg(m::text, ' ') from meshhook_engine.expired_months() m), '2001-01-01 2001-02-01 2001-03-01', 'months over their time');
select meshhook_engine.set_retention(1200, null);
select is_empty('select * from meshhook_engine.expired_months()', 'a hundred years are not over');
select meshhook_engine.set_retention(1, null);
select is_empty($$select m from meshhook_engine.expired_months() m
  where m >= date_trunc('month', now() at time zone 'UTC') - interval '1 month'$$, 'never last month or this one');
select is((select detail -> 'months' from meshhook.audit_log where action = 'retention.set' order by id desc limit 1), '1', 'it is audited');
select is(pg_temp.retention(), '0', 'what isn''t archived stays');
select matches((select detail from meshhook_engine.check_retention()), 'no monitor has an archive', 'doctor says so');

-- Archived as a whole, then dropped --------------------------------------------------------------

select throws_ok($$select pg_temp.archive(1)$$, 'MH003', null, 'a part that lacks a row is no part');
select is(pg_temp.archive(), 'runs_2001_01 2', 'the rows of its runs');
select is(pg_temp.archive(), 'run_events_2001_01 4', 'its events, each once');
select is(pg_temp.retention(), '0', 'not before all of it is');
select throws_ok($$select meshhook_engine.drop_month('2001-01-01')$$, 'MH003', null, 'whoever asks');
select id as logs from meshhook_engine.archive_next(50, '/archive') \gset
select throws_ok(format('select meshhook_engine.archive_done(50, %s, ''y'')', :logs), 'MH003', null, 'nor is it done while rows are left');
select is(pg_temp.archive(), 'logs_2001_01 2', 'and its lines');
insert into meshhook.logs (channel_id, seq, project_id, ts, level, message)
  values (gen_random_uuid(), 1, pg_temp.project('test-alpha'), '2001-01-09', 9, 'late');
select is(pg_temp.retention(), '-1', 'what came behind the archive''s last row is not dropped');
select matches((select problem from meshhook_engine.chores where name = 'retention'), 'logs_2001_01 is not archived as a whole', 'and said');
select is((select ok from meshhook_engine.check_maintenance()), false, 'by doctor, too');
select is((select value from meshhook_engine.probe_keep() where metric = 'upkeep_failing' and label_value = 'retention'), 1::float8, 'and in the metrics');
delete from meshhook.logs where message = 'late';
select is(pg_temp.there('2001_01'), 't t 2 2 2', 'until then all of it is there');
select is(pg_temp.retention(), '2 2 2 1 0', 'then the month goes, and by and by its runs');
select is(pg_temp.there('2001_01'), 'f f 0 0 0', 'all of it');
select is(pg_temp.there('2001_02'), 't t 2 2 2', 'and nothing else');
select is((select problem from meshhook_engine.chores where name = 'retention'), null, 'the problem is over');
select is((select count(*) from meshhook.audit_log where action = 'partition.drop'), 2::bigint, 'it is audited');
select matches(meshhook_engine.archive_manifest(:logs), '"month": "2001-01".*"parts": \[.*"sha256": "x"', 'the manifest names the parts');
select is((select string_agg(value::text, ' ' order by metric) from meshhook_engine.probe_keep()
  where metric in ('archived_rows_total', 'archived_bytes_total', 'partitions_dropped_total')), '80 8 2', 'and counted');
select meshhook_engine.set_retention(null, false);
select is(pg_temp.retention(), '2 2 2 1 0', 'without an archive, where that is asked for');
select is(pg_temp.there('2001_02') || '|' || pg_temp.there('2001_03'), 'f f 0 0 0|t t 2 2 2', 'a month in which a run goes on stays');
select matches((select detail from meshhook_engine.check_retention()), 'stays: run .* has not ended', 'doctor says which');
update meshhook.runs set status = 'failed', ended_at = now() where id in (select id from past);
select meshhook_engine.ensure_month('2001-01-01') \g /dev/null
select meshhook_engine.set_retention(null, true);
select is(pg_temp.archive(), 'runs_2001_01 0', 'a month that is there again');
select is((select dir from meshhook_engine.archives where name = 'runs_2001_01' and dropped_at is null), 'runs_2001_01-2', 'has an archive of its own');

-- A line is a row, to the letter -----------------------------------------------------------------

create temp table lines as select line from meshhook_engine.archive_slice(50, 'run_events_2001_03', null, 1000000, 1000);
select is((select count(*) from lines where line ~ '[\n\r]'), 0::bigint, 'one line a row');
select is_empty($$select r.* from lines, json_populate_record(null::meshhook.run_events, line::json) r
  except select e.* from meshhook_engine.run_events_2001_03 e$$, 'which reads back as it was');

-- Who no longer leads ----------------------------------------------------------------------------

select throws_ok(format(call, 49), 'MH002', null, call) from (values
  ('select meshhook_engine.upkeep(%s, ''workers'')'), ('select meshhook_engine.archive_next(%s, ''/a'')'),
  ('select meshhook_engine.archive_slice(%s, ''runs_2001_03'', null, 1, 1)'), ('select meshhook_engine.archive_anew(%s, 1, ''/a'')'),
  ('select meshhook_engine.archive_part(%s, 1, ''f'', ''u'', 1, 1, ''s'')'), ('select meshhook_engine.archive_done(%s, 1, ''s'')'),
  ('select meshhook_engine.archive_failed(%s, 1, ''p'')')) v(call);

-- Queues and processes ---------------------------------------------------------------------------

insert into pgmq.a_mh_work (msg_id, read_ct, enqueued_at, archived_at, vt, message)
  select n, 1, now(), now() - n * interval '20 days', now(), '{}' from generate_series(1, 4) n;
insert into pgmq.q_mh_dead (vt, enqueued_at, message) values (now() - interval '2 months', now() - interval '2 months', '{}'), (now(), now(), '{}');
select is((select done from meshhook_engine.upkeep(50, 'queues')), 4::bigint, 'messages older than what is kept');
select is((select count(*) from pgmq.a_mh_work), 1::bigint, 'no others');
select meshhook_engine.set_retention(0, null);
update pgmq.a_mh_work set archived_at = now() - interval '10 years';
select is((select done from meshhook_engine.upkeep(50, 'queues')), 0::bigint, 'none while all is kept');
insert into meshhook.workers (id, kind, host, pid, version, seen_at)
  select gen_random_uuid(), k, 'gone', n, '1', now() - n * interval '2 days' from unnest(array['worker', 'gateway']) k, generate_series(1, 3) n;
select is((select done from meshhook_engine.upkeep(50, 'workers')), 5::bigint, 'processes of which nobody heard for a day');
select is((select string_agg(kind, ' ') from meshhook.workers where host = 'gone'), 'gateway', 'but the last of its kind, which says since when there is none');
select is((select concat_ws(' ', done, more, problem) from meshhook_engine.upkeep(50, 'nonsense')), '-1 f case not found', 'a chore that is none');
delete from meshhook_engine.chores where name = 'nonsense';

-- Counters ---------------------------------------------------------------------------------------

create function pg_temp.reconcile() returns text language plpgsql as $$
declare
  v record; v_done bigint := 0;
begin
  loop
    select * into v from meshhook_engine.upkeep(50, 'counters');
    v_done := v_done + v.done;
    exit when not v.more;
  end loop;
  perform meshhook_engine.compact_counters();
  return v_done::text;
end $$;
select pg_temp.reconcile() \g /dev/null
select is(pg_temp.reconcile(), '0', 'what is right stays');
update meshhook_engine.admission set queued = queued + 7 where project_id = pg_temp.project('test-alpha');
delete from meshhook_engine.admission where project_id = pg_temp.project('test-beta');
update meshhook.counters set value = value - 3 where project_id = pg_temp.project('test-alpha') and metric = 'backlog';
update meshhook.counters set value = value + 2 where project_id = pg_temp.project('test-beta') and metric = 'run.started';
select is(pg_temp.reconcile(), '4', 'what is wrong is found');
select is((select ok from meshhook_engine.check_admission()), true, 'and mended: the queue');
select is((select sum(value) from meshhook.counters join meshhook.projects p on p.id = project_id where metric = 'backlog'), (select count(*) from meshhook_engine.backlog)::numeric, 'the backlogs');
select is((select p.value from meshhook_engine.probe_projects(now()) p where p.metric = 'runs_running'
  and p.project = pg_temp.project('test-beta')), 1::float8, 'the runs that go on');
select is(pg_temp.reconcile(), '0', 'once');
select is((select string_agg(label_value || ' ' || value, ', ' order by label_value) from meshhook_engine.probe_keep()
  where metric = 'reconciled_total' and value > 0), 'backlog 3, queued 2, running 1', 'and counted');

-- However many there are, a step is a short one.
insert into meshhook.runs (id, project_id, workflow_id, version_id, trigger, last_seq, status)
  values ('00e8d4a5-1000-7000-8000-000000000001', pg_temp.project('test-beta'), gen_random_uuid(), gen_random_uuid(), 't', 1, 'running');
update meshhook_engine.retention set settled = null, checked = null;
select meshhook_engine.settle_runs(1000) \g /dev/null
select is((select count(*) from meshhook_engine.lasting_runs where run_id = '00e8d4a5-1000-7000-8000-000000000001'), 1::bigint, 'a run that goes on is remembered');
select is(meshhook_engine.mend_project(pg_temp.project('test-beta')), 1::bigint, 'and counted, as those behind are');
select is(meshhook_engine.mend_project(pg_temp.project('test-beta')), 0::bigint, 'once');
update meshhook.runs set status = 'succeeded' where id = '00e8d4a5-1000-7000-8000-000000000001';
select is(meshhook_engine.mend_project(pg_temp.project('test-beta')), 1::bigint, 'until it ends');
select meshhook_engine.settle_runs(1000) \g /dev/null
select is((select count(*) from meshhook_engine.lasting_runs where run_id = '00e8d4a5-1000-7000-8000-000000000001'), 0::bigint, 'and is forgotten');
insert into meshhook_engine.backlog (project_id, message) select pg_temp.project('test-beta'), '{}' from generate_series(1, 12000);
select is(meshhook_engine.mend_project(pg_temp.project('test-beta')), 1::bigint, 'where many wait, their count');
select meshhook_engine.compact_counters() \g /dev/null
select is((select value from meshhook.counters where project_id = pg_temp.project('test-beta') and metric = 'backlog'), 10001::bigint, 'is at least 10,001');
insert into meshhook_engine.counter_deltas (project_id, metric, delta) values (pg_temp.project('test-beta'), 'backlog', 50000);
select is(meshhook_engine.mend_project(pg_temp.project('test-beta')), 0::bigint, 'and may be more');

-- A new leader goes on where another was.
select is((select concat_ws(' ', done, more, wait_ms between 1 and 60000) from meshhook_engine.upkeep(50, 'workers', 50, 60000)), '0 f t', 'what was done lately waits');
update meshhook_engine.chores set done_at = now() - interval '50 seconds' where name = 'workers';
select is((select wait_ms from meshhook_engine.upkeep(50, 'workers', 50, 60000)), 10000::bigint, 'for what is left of its time');
select is((select wait_ms from meshhook_engine.upkeep(50, 'workers')), 0::bigint, 'unless it is asked for');
update meshhook_engine.chores set done_at = now() - interval '61 seconds' where name = 'workers';
select is((select wait_ms from meshhook_engine.upkeep(50, 'workers', 50, 60000)), 0::bigint, 'or is over it');
select * from finish();
