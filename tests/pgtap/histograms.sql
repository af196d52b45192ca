-- Histograms of what steps wait and take: what is counted, how it is merged, and percentiles.
\i tests/pgtap/fixture.psql
select no_plan();

truncate meshhook_engine.histogram_deltas, meshhook_engine.histograms;
create temp table p as select pg_temp.project('test-alpha') as a, pg_temp.project('test-beta') as b;

-- Buckets ------------------------------------------------------------------------------------

-- As core/histogram.c has it.
create function pg_temp.bucket(us bigint) returns int language sql immutable as $$
  select case when us < 8 then us else 8 * (o - 2) + (us >> (o - 3)) % 8 end::int
    from (select length(ltrim(us::bit(64)::text, '0')) - 1 as o) x $$;
select is((select array_agg(meshhook_engine.bucket_end(i) order by i) from generate_series(0, 17) i),
  '{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,18,20}', 'eight an octave');
select is(meshhook_engine.bucket_end(287), 1::bigint << 38, 'up to three days');
select is((select count(*) from generate_series(0, 286) i where
    pg_temp.bucket(meshhook_engine.bucket_end(i) - 1) <> i or pg_temp.bucket(meshhook_engine.bucket_end(i)) <> i + 1),
  0::bigint, 'they meet');

-- Percentiles --------------------------------------------------------------------------------

-- Durations that were measured, and the commits that bring them; kept: all of them so far.
create temp table d (project uuid, metric int, us bigint);
create temp table kept (like d);
create function pg_temp.commits() returns void language sql as $$
  insert into meshhook_engine.histogram_deltas (project_id, at, cells, counts)
    select project, now(), array_agg(cell), array_agg(n)
      from (select project, batch, (metric * 512 + pg_temp.bucket(us))::smallint as cell, count(*)::int as n
              from (select d.*, width_bucket(sqrt(random()), 0, 1, 60) as batch from d) x group by 1, 2, 3) y
     group by project, batch;
  delete from d $$;
-- What there is against the very duration in that place, of all that were measured.
create function pg_temp.worst(project_ uuid) returns float8 language sql as $$
  select max(abs(h.value * 1e6 - v.us) / v.us) from meshhook_engine.probe_histograms(now()) h, lateral (
      select percentile_disc(case h.label_value when 'p50' then 0.5 when 'p95' then 0.95 else 0.99 end)
        within group (order by k.us) as us from kept k
       where (project_ is null or k.project = project_)
         and meshhook_engine.cell_metric(k.metric * 512) = h.metric) v
   where h.project is not distinct from project_ $$;

select setseed(0.4);
insert into d
  select a, 0, (1000 * exp(2 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())))::bigint + 8 from p, generate_series(1, 4000) union all
  select a, 1, (200000 + 100000 * random())::bigint from p, generate_series(1, 4000) union all
  select b, 0, (3e6 * -ln(1 - random()))::bigint + 8 from p, generate_series(1, 900) union all
  select b, 1, case when random() < 0.94 then 50000 else 30000000 end from p, generate_series(1, 900);
insert into kept select * from d;
select pg_temp.commits();
select cmp_ok((select count(*) from meshhook_engine.histogram_deltas), '>', 100::bigint, 'many commits');
select is_empty('select * from meshhook_engine.probe_histograms(now())', 'what isn''t folded isn''t seen');
select meshhook_engine.compact_counters();
select is((select count(*) from meshhook_engine.histogram_deltas), 0::bigint, 'folded');
select is((select count(*) from meshhook_engine.probe_histograms(now())), 18::bigint,
  'three percentiles of two metrics, of two projects and of all');
select cmp_ok(pg_temp.worst(a), '<=', 1 / 16.0::float8, 'one project''s are within a sixteenth') from p;
select cmp_ok(pg_temp.worst(b), '<=', 1 / 16.0::float8, 'the other''s') from p;
select cmp_ok(pg_temp.worst(null), '<=', 1 / 16.0::float8, 'and those of all');
select ok(bool_and(value = meshhook_engine.bucket_middle(pg_temp.bucket(case label_value when 'p50' then 50000 else 30000000 end))),
    'a tail of 6 % is in p95') from meshhook_engine.probe_histograms(now()), p
  where project = b and metric = 'step_time_seconds';

-- Merging is exact: the cells hold what counting all durations at once gives.
create function pg_temp.all_projects() returns uuid language sql immutable return uuid '00000000-0000-0000-0000-000000000000';
create function pg_temp.counted() returns table (project uuid, cell int, n bigint) language sql as $$
  select h.project_id, c.cell, sum(c.n)::bigint from meshhook_engine.histograms h, unnest(h.cells, h.counts) c(cell, n)
   group by 1, 2 $$;
create function pg_temp.totals() returns table (cell int, n bigint) language sql as $$
  select t.bucket + case t.metric when 'attempt_wait_seconds' then 0 when 'attempt_time_seconds' then 512 end, t.n
    from meshhook_engine.histogram_totals() t where t.n > 0 $$;
select bag_eq('select * from pg_temp.counted()',
  $$select p, metric * 512 + pg_temp.bucket(us), count(*) from kept, unnest(array[project, pg_temp.all_projects()]) p group by 1, 2$$,
  'merged without loss, of each project and of all');
select bag_eq('select * from pg_temp.totals()', 'select metric * 512 + pg_temp.bucket(us), count(*) from kept group by 1',
  'all of it in the totals');

-- A minute passes: percentiles are of what came since, and the totals of all projects stay.
update meshhook_engine.histograms set slot = slot - interval '2 minutes';
select is_empty('select * from meshhook_engine.probe_histograms(now())', 'after a minute nothing was recorded lately');
select is((select sum(n) from pg_temp.totals()), 9800::numeric, 'which is no reason to forget it');
insert into d select a, 1, 5000000 from p, generate_series(1, 10);
insert into kept select * from d;
select pg_temp.commits();
select meshhook_engine.compact_counters();
select is((select array_agg(distinct round(value::numeric)) from meshhook_engine.probe_histograms(now())), '{5}',
  'only what is new');
select results_eq('select slot, project_id from meshhook_engine.histograms order by 1, 2',
  $$select t.slot, t.id from p, lateral (values ('-infinity'::timestamptz, pg_temp.all_projects()),
      (date_bin('30 seconds', now(), timestamptz 'epoch'), pg_temp.all_projects()),
      (date_bin('30 seconds', now(), timestamptz 'epoch'), p.a)) t(slot, id) order by 1, 2$$, 'the past is one row');
insert into meshhook_engine.histogram_deltas (project_id, at, cells, counts) select a, now() - interval '1 day', '{512}', '{7}' from p;
insert into kept select a, 1, 0 from p, generate_series(1, 7);
select meshhook_engine.compact_counters();
select is((select sum(cardinality(cells)) from meshhook_engine.histograms h, p where h.project_id = p.a), 1::bigint,
  'what nobody folded for long is of the past');
select bag_eq('select * from pg_temp.totals()', 'select metric * 512 + pg_temp.bucket(us), count(*) from kept group by 1',
  'and nothing is lost');
update meshhook_engine.leader set until = '-infinity';
select is((select count(*) from meshhook_engine.tick(gen_random_uuid(), '1 s') t where t.metric = 'step_time_seconds'), 6::bigint,
  'a tick has them, of the project and of all');

-- What commits bring -------------------------------------------------------------------------

truncate meshhook_engine.histograms;
create temp table r as select id, last_seq, project_id, row_number() over (order by id)::int as i
  from meshhook.runs where project_id in (select a from p union select b from p);
update meshhook.runs set status = 'running' where id in (select id from r);
-- Two attempts of the first run, as 5 and 88 each; one of the second, as 5 and 89; and what is none.
create function pg_temp.commit(stale int) returns setof text language sql as $$
  insert into pgmq.q_mh_work (vt, message)
    select now(), jsonb_build_object('p', project_id, 'r', id) from r, generate_series(1, 4);
  select c.outcome from (select array_agg(id order by id) ids, array_agg(last_seq - (i = stale)::int order by id) base,
      array_agg((i = stale)::int order by id) events, array_agg(0) none, array_agg(null::text) status from r) x,
    (select array_agg(msg_id order by msg_id) ids from (select msg_id from pgmq.q_mh_work order by msg_id desc limit 4) q) m,
    meshhook_engine.commit(0, x.ids, x.base, x.events, x.none, x.status, null, '{1,1,2,2}', m.ids, array[now(), now(), now(), now()],
      '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
      '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', p_mg_wait => '{5,5,5,null}', p_mg_time => '{88,88,89,null}',
      p_hs_item => '{1,1,2,2}', p_hs_cell => '{5,600,5,601}', p_hs_n => '{2,2,1,1}') c $$;
select is_empty('select pg_temp.commit(0)', 'a commit that is applied');
select meshhook_engine.compact_counters();
create function pg_temp.of(i_ int) returns text language sql as $$
  select string_agg(format('%s:%s', cell, n), ' ' order by cell) from pg_temp.counted()
   where project = (select project_id from r where i = i_) $$;
select is(pg_temp.of(1), '5:2 600:2', 'counts');
select is(pg_temp.of(2), '5:1 601:1', 'for each project');
select results_eq('select pg_temp.commit(2)', '{stale}'::text[], 'of one that is stale in part');
select meshhook_engine.compact_counters();
select is(pg_temp.of(1), '5:4 600:4', 'what was applied counts');
select is(pg_temp.of(2), '5:1 601:1', 'and the rest doesn''t, yet');

-- A project that goes takes its histograms with it; the others' stay.
select meshhook.purge_project('test-alpha');
select is((select count(*) from meshhook_engine.histograms where project_id = (select a from p)), 0::bigint, 'gone');
select is((select count(distinct project_id) from meshhook_engine.histograms), 2::bigint, 'alone');
select is((select string_agg(cell || ':' || n, ' ' order by cell) from pg_temp.totals()), '5:5 600:4 601:1',
  'and what all did stays counted: nothing that Prometheus reads falls');
truncate meshhook_engine.histograms;
select bag_eq('select metric, bucket, n from meshhook_engine.histogram_totals()',
  $$values ('attempt_wait_seconds', 0, 0::bigint), ('attempt_time_seconds', 0, 0)$$, 'before anything happens there is a 0 to rise from');

select * from finish();
