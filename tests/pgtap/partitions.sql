-- Partitions: made ahead, protected like their parents.
\i tests/pgtap/fixture.psql
select no_plan();

-- A month may have begun since the migrations made them.
select meshhook_engine.ensure_partitions() \g /dev/null
select is(meshhook_engine.ensure_partitions(), 0, 'three months ahead are there');
select count(*) as missing from generate_series(date_trunc('month', now() at time zone 'UTC'),
    now() at time zone 'UTC' + interval '30 months', interval '1 month') m, unnest(array['run_events', 'logs']) k
  where to_regclass(format('meshhook_engine.%s_%s', k, to_char(m, 'YYYY_MM'))) is null \gset
select cmp_ok(:missing, '>', 0, 'thirty months ahead, some are missing');
select is(meshhook_engine.ensure_partitions(30), :missing, 'those are made, of events and lines');
select is(meshhook_engine.ensure_partitions(30), 0, 'once');
select throws_ok('select meshhook_engine.ensure_partitions(1000)', '22023', null, 'not without end');
select is_empty($$select format('%s_%s', k, to_char(m, 'YYYY_MM'))
  from unnest(array['run_events', 'logs']) k, generate_series(date_trunc('month', now() at time zone 'UTC')
    - interval '1 month', now() at time zone 'UTC' + interval '30 months', interval '1 month') m
  where to_regclass(format('meshhook_engine.%s_%s', k, to_char(m, 'YYYY_MM'))) is null$$,
  'every month from the last one on');
select is_empty($$select inhrelid::regclass from pg_inherits where inhparent in
  ('meshhook.run_events'::regclass, 'meshhook.logs'::regclass)
  and pg_get_expr((select relpartbound from pg_class where oid = inhrelid), inhrelid) = 'DEFAULT'$$,
  'no DEFAULT partition');

-- The far future, as any worker would meet it.
select is(meshhook_engine.ensure_month('2187-12-17'), 2, 'a month of the far future');
select is(meshhook_engine.ensure_month('2187-12-01'), 0, 'once');
insert into meshhook.run_events (run_id, seq, project_id, type, payload) values
  (meshhook_engine.uuid7_floor('2187-12-01 00:00:00+00'), 1, pg_temp.project('test-alpha'), 'x', '{}'),
  (overlay(meshhook_engine.uuid7_floor('2187-12-31 23:59:59.999+00')::text placing '7fff-bfff-ffffffffffff' from 15)::uuid,
    1, pg_temp.project('test-alpha'), 'x', '{}');
insert into meshhook.logs (channel_id, seq, project_id, ts, level, message) values
  (gen_random_uuid(), 1, pg_temp.project('test-alpha'), '2187-12-31 23:59:59.999999+00', 9, 'm');
select results_eq('select (select count(*) from meshhook_engine.run_events_2187_12),
  (select count(*) from meshhook_engine.logs_2187_12)', 'values (2::bigint, 1::bigint)',
  'takes what is of its month, to the last millisecond');
select throws_ok($$insert into meshhook.run_events (run_id, seq, project_id, type, payload) values
  (meshhook_engine.uuid7_floor('2188-01-01 00:00:00+00'), 1, pg_temp.project('test-alpha'), 'x', '{}')$$,
  '23514', null, 'and not what is of the next');
select throws_ok($$insert into meshhook_engine.run_events_2187_12 (run_id, seq, project_id, type, payload) values
  (meshhook_engine.uuid7_floor('2188-01-01 00:00:00+00'), 1, pg_temp.project('test-alpha'), 'x', '{}')$$,
  '23514', null, 'even if asked for itself');

-- New partitions are as their parents.
select throws_ok(format('%s meshhook_engine.run_events_2187_12 %s', a, b), '42501', null, 'a new partition refuses ' || a)
  from (values ('update', 'set type = ''y'''), ('delete from', ''), ('truncate', '')) v (a, b);
select is(pg_temp.attempt(actor, format('select from meshhook_engine.%s_2187_12', kind)), '42501',
    format('%s_2187_12: %s', kind, actor))
  from actors, unnest(array['run_events', 'logs']) kind order by kind, actor;
select is(pg_temp.attempt('viewer', 'select from meshhook.run_events where run_id >= meshhook_engine.uuid7_floor(''2187-01-01'')'),
  '42501', 'and helpers are not for people');
select is(pg_temp.attempt('viewer', $$select from meshhook.logs where ts > '2187-01-01'$$), '1',
  'through the parent, members see what is theirs');
select is(pg_temp.attempt('outsider', $$select from meshhook.logs where ts > '2187-01-01'$$), '0', 'and outsiders don''t');
select ok(bool_and(relrowsecurity), 'new partitions are under row-level security, too')
  from pg_class where relname ~ '_2187_12$' and relkind = 'r';
select is((select count(*) from pg_index i where indrelid = 'meshhook_engine.run_events_2187_12'::regclass), 1::bigint,
  'with the parent''s index and no other');

select * from finish();
