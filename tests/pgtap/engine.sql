-- The hot path in SQL: claim and commit, lease fencing, stale and resolved, admission, backlog,
-- timers, intake. docs/decisions/0001 and 0002 are what is held against.
select plan(68);

create temp table ids as select
  meshhook.create_project('engine-a', 'A') as a, meshhook.create_project('engine-b', 'B') as b;
update meshhook.projects set window_size = 3 where id in (select a from ids union select b from ids);
create temp table flow as
  select p.id as project, meshhook_engine.uuid7() as workflow, meshhook_engine.uuid7() as version
    from ids, lateral (values (a), (b)) p(id);
insert into meshhook.workflows (id, project_id, name, draft, published_version)
  select workflow, project, 'chain', '{}', 1 from flow;
insert into meshhook.versions (id, project_id, workflow_id, version, definition, plan)
  select version, project, workflow, 1, '{}', '{"hook": {"events": [{"type": "step.scheduled",
    "payload": {"step": "a", "attempt": 1}}], "steps": [], "messages": [{"n": "a", "a": 1, "k": "step"}]}}'
    from flow;

create function pg_temp.start(p_project uuid, n int) returns void language sql as $$
  select meshhook_engine.start_runs(array_agg(f.version), array_agg('hook'::text), array_agg('{"x": 1}'::jsonb),
    array_agg(meshhook_engine.uuid7())) from flow f, generate_series(1, n) where f.project = p_project $$;

create temp table held (msg_id bigint, vt timestamptz, read_ct int, message jsonb, last_seq int,
  version_id uuid, started_at timestamptz, trigger text, slice jsonb, floor timestamptz, ready_at timestamptz);
create function pg_temp.take(qty int, after uuid default null) returns int language sql as $$
  delete from held;
  select setseed(-0.1); -- a claim of few draws whether it keeps one back
  insert into held select * from meshhook_engine.claim(qty, 30000, 0, after);
  select count(*)::int from held where msg_id is not null $$;

-- Commit what is held: each message's step succeeds, and `next` is scheduled unless null.
create function pg_temp.give(next text, ends text default null, base_off int default 0)
returns setof record language sql as $$
  with h as (select *, (message ->> 'r')::uuid as run, row_number() over (order by (message ->> 'r')::uuid)::int as i
               from held where msg_id is not null),
  x as (select array_agg(run order by i) run, array_agg(last_seq + base_off order by i) base,
      array_agg(2 order by i) two, array_agg(1 order by i) one, array_agg(i order by i) item,
      array_agg(msg_id order by i) ids, array_agg(vt order by i) vts, array_agg(last_seq + 1 + base_off order by i) s1,
      array_agg(last_seq + 2 + base_off order by i) s2, array_agg(message ->> 'n' order by i) step,
      array_agg(true) yes, array_agg(0) zero, array_agg(ends) status, array_agg('succeeded'::text) ok,
      array_agg(case when ends is null then 'step.scheduled' else 'run.' || ends end) then_,
      array_agg('{}'::jsonb) empty, array_agg('done'::text) done, array_agg(9::smallint) level,
      array_agg(jsonb_build_object('n', next, 'a', 1, 'k', 'step')) sends, array_agg('step.succeeded'::text) first_
      from h)
  select c.* from x, meshhook_engine.commit(0, x.run, x.base, x.two, x.one, x.status, null, x.item, x.ids, x.vts,
    x.item || x.item, x.s1 || x.s2, x.first_ || x.then_, x.empty || x.empty,
    x.item, x.step, x.ok, x.one, x.zero, x.zero, x.s1, x.yes,
    x.item, x.one, x.level, x.done, x.empty,
    case when next is null then '{}' else x.item end, case when next is null then '{}' else x.sends end,
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') c $$;

-- admission
select pg_temp.start((select a from ids), 5);
select is((select count(*)::int from pgmq.q_mh_work), 3, 'a window of 3 lets 3 into the queue');
select is((select count(*)::int from meshhook_engine.backlog), 2, 'the rest waits');
select is(meshhook_engine.admission_room((select a from ids)), 0, 'the window is full');
select pg_temp.start((select b from ids), 1);
select is((select count(*)::int from pgmq.q_mh_work), 4, 'another project is not held up');

-- claim
select is(pg_temp.take(10), 4, 'claim takes what is ready, and no more than the window');
select is((select count(*)::int from held where msg_id is null), 1, 'one header row');
select ok((select vt between now() - interval '1 minute' and clock_timestamp() from held where msg_id is null),
  'the header has the database''s now');
select ok((select bool_and(last_seq = 2 and version_id is not null and trigger = 'hook') from held
  where msg_id is not null), 'each message comes with its run');
select ok((select bool_and(read_ct = 1) from held where msg_id is not null), 'first delivery');
select ok((select bool_and(ready_at between now() - interval '1 minute' and clock_timestamp()) from held
  where msg_id is not null), 'ready since it was sent, whatever its lane');
select is(pg_temp.take(10), 0, 'what is leased is not taken again');

-- fencing
delete from held;
update pgmq.q_mh_work set vt = now() - interval '20 s';
select is(pg_temp.take(10), 4, 'a lease that ended is taken again');
select ok((select bool_and(ready_at = now() - interval '20 s') from held where msg_id is not null),
  'ready since it ended');
select ok((select bool_and(read_ct = 2) from held where msg_id is not null), 'second delivery');
create temp table old as select * from held;
update pgmq.q_mh_work set vt = clock_timestamp() - interval '1 ms';
select pg_temp.take(10);
create temp table new as select * from held;
delete from held;
insert into held select * from old;
select throws_ok($$ select * from pg_temp.give('b') as (item int, outcome text, last_seq int, tail jsonb) $$,
  'MH001', null, 'a commit under an old lease is refused');
select is((select count(*)::int from meshhook.run_events e join meshhook.runs r on r.id = e.run_id
  where r.project_id in (select a from ids)), 10, 'and changes nothing');
select is((select count(*)::int from meshhook_engine.extend(array(select msg_id from old where msg_id is not null),
  array(select vt from old where msg_id is not null), 30000)), 0, 'nor can an old lease be extended');
select is(meshhook_engine.release(array(select msg_id from old where msg_id is not null),
  array(select vt from old where msg_id is not null)), 0, 'or released');
select is((select count(*)::int from meshhook_engine.extend(array(select msg_id from new where msg_id is not null),
  array(select vt from new where msg_id is not null), 30000)), 4, 'the holder extends');
select is(meshhook_engine.release(array(select q.msg_id from pgmq.q_mh_work q), array(select q.vt from pgmq.q_mh_work q)),
  4, 'and gives back');
select ok((select bool_and(q.read_ct = 2) from pgmq.q_mh_work q), 'a lease given back is not a delivery');

-- commit
select pg_temp.take(10);
select is_empty($$ select * from pg_temp.give('b') as (item int, outcome text, last_seq int, tail jsonb) $$,
  'a commit on the present state is applied');
select is((select count(*)::int from pgmq.q_mh_work where message ->> 'n' = 'b'), 4, 'what it sent is in the queue');
select is((select count(*)::int from pgmq.q_mh_work where message ->> 'n' = 'a'), 0, 'what it did is gone from it');
select ok((select bool_and(r.last_seq = 4 and r.log_seq = 2) from meshhook.runs r, ids
  where r.id in (select (message ->> 'r')::uuid from held)), 'the run''s counters moved');
select is((select array_agg(distinct e.seq order by e.seq) from meshhook.run_events e
  where e.run_id in (select (message ->> 'r')::uuid from held)), '{1,2,3,4}', 'events are contiguous');
select is((select count(*)::int from meshhook.steps where status = 'succeeded'
  and run_id in (select (message ->> 'r')::uuid from held)), 4, 'a row a step with a result');

-- stale, with the tail; nothing is written
select pg_temp.take(1);
update meshhook.runs set last_seq = last_seq + 1 where id = (select (message ->> 'r')::uuid from held where msg_id is not null);
insert into meshhook.run_events (run_id, seq, project_id, type, payload)
  select r.id, r.last_seq, r.project_id, 'step.succeeded', '{"step": "z"}' from meshhook.runs r
   where r.id = (select (message ->> 'r')::uuid from held where msg_id is not null);
select results_eq($$ select outcome, last_seq, tail -> 0 ->> 'type', jsonb_array_length(tail)
    from pg_temp.give('c') as (item int, outcome text, last_seq int, tail jsonb) $$,
  $$ values ('stale', 5, 'step.succeeded', 1) $$, 'a run that moved answers stale, with what was missed');
select is((select count(*)::int from pgmq.q_mh_work where msg_id in (select msg_id from held)), 1, 'its message stays');
select is_empty($$ select * from pg_temp.give('c', null, 1) as (item int, outcome text, last_seq int, tail jsonb) $$,
  'decided again on what was missed, it is applied');

-- the end of a run, and resolved
select pg_temp.take(1);
create temp table ended as select (message ->> 'r')::uuid as run from held where msg_id is not null;
insert into meshhook_engine.timers values ((select run from ended), 'retry', 'q', 2, now() + interval '1 h',
  (select a from ids), '{}');
select is_empty($$ select * from pg_temp.give(null, 'succeeded') as (item int, outcome text, last_seq int, tail jsonb) $$,
  'a run ends');
select is((select status || ' ' || (final_log_seq = log_seq) || ' ' || (ended_at is not null) from meshhook.runs
  where id = (select run from ended)), 'succeeded true true', 'with its status, its time and its last line');
select is((select count(*)::int from meshhook_engine.timers where run_id = (select run from ended)), 0, 'its timers go');
select results_eq($$ select outcome from meshhook_engine.commit(0, array[(select run from ended)], array[99], array[1], array[0],
    array[null]::text[], null, '{}', '{}', '{}', '{1}', '{100}', '{step.succeeded}', '{"{}"}', '{}', '{}', '{}', '{}', '{}',
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') $$,
  $$ values ('resolved') $$, 'a run that is over answers resolved');

-- the backlog fills up what is free, round-robin
delete from held;
select is(meshhook_engine.admission_room((select a from ids)) > 0, true, 'an end makes room');
update meshhook.projects set window_size = 100 where id in (select a from ids union select b from ids);
delete from pgmq.q_mh_work;
delete from meshhook_engine.backlog;
delete from meshhook_engine.admission;
analyze meshhook_engine.backlog; -- when it is empty, as any moment may find it: no plan may take more than a claim asks for
insert into meshhook_engine.backlog (project_id, at, message)
  select p, now() - i * interval '1 s', jsonb_build_object('p', p, 'r', gen_random_uuid(), 'n', i::text, 'a', 1, 'k', 'step')
    from ids, lateral (values (a), (b)) x(p), generate_series(1, 20) i;
select is(pg_temp.take(10), 10, 'a claim fills up from the backlog');
select ok((select bool_and(ready_at = now() - (message ->> 'n')::int * interval '1 s') from held
  where msg_id is not null), 'ready since it waits there');
select results_eq($$ select count(*)::int from held where msg_id is not null group by message ->> 'p' $$,
  $$ values (5), (5) $$, 'an equal share a project');
select is((select sum(queued)::int from meshhook_engine.admission), 10, 'and counts them');
select is((select count(*)::int from held where msg_id is not null and version_id is null), 10,
  'a message of a run that is gone says so');
select is_empty($$ select c.* from (select array_agg((message ->> 'r')::uuid order by (message ->> 'r')::uuid) run,
      array_agg(0) zero, array_agg(msg_id order by (message ->> 'r')::uuid) ids, array_agg(vt) vts,
      array_agg(null::text) st from held where msg_id is not null) x,
    meshhook_engine.commit(0, run, zero, zero, zero, st, null, array(select generate_series(1, 10)), ids, vts,
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
    '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') c where outcome <> 'resolved' $$,
  'committed without events, it is dropped');
select is((select coalesce(sum(queued), 0)::int from meshhook_engine.admission), 0, 'and no longer counted');

-- timers
delete from meshhook_engine.timers;
analyze meshhook_engine.timers;
insert into meshhook_engine.timers select gen_random_uuid(), 'delay', 'w', 1, now() - i * interval '1 s', a,
  jsonb_build_object('p', a, 'r', gen_random_uuid(), 'n', i::text, 'a', 1, 'k', 'delay') from ids, generate_series(1, 20) i;
delete from meshhook_engine.backlog;
savepoint due;
select is(pg_temp.take(5), 5, 'of many timers that are due no more than is asked for');
select is((select array_agg(message ->> 'n' order by ready_at) from held where msg_id is not null), '{20,19,18,17,16}', 'the first ones');
rollback to due;
delete from meshhook_engine.timers;
insert into meshhook_engine.timers select r.id, 'delay', 'w', 1, now() - interval '1 s', r.project_id,
  jsonb_build_object('p', r.project_id, 'r', r.id, 'n', 'w', 'a', 1, 'k', 'delay')
  from meshhook.runs r, ids where r.project_id = a and r.status = 'running' limit 1;
delete from meshhook_engine.backlog;
select is(pg_temp.take(10), 1, 'a due timer becomes a leased message');
select ok((select slice is not null from held where msg_id is not null), 'with its step''s row asked for');
select is((select ready_at from held where msg_id is not null), now() - interval '1 s', 'ready since it was due');

-- a queue that never runs dry keeps neither timers nor the backlog waiting
insert into meshhook_engine.timers select r.id, 'delay', 'w' || i, 1, now() - interval '1 s', r.project_id,
  jsonb_build_object('p', r.project_id, 'r', r.id, 'n', 'w' || i, 'a', 1, 'k', 'delay')
  from (select r.* from meshhook.runs r, ids where r.project_id = a and r.status = 'running' limit 1) r, generate_series(1, 50) i;
select pg_temp.start((select b from ids), 60);
select is(pg_temp.take(20), 20, 'a claim of a full queue');
select is((select count(*)::int from held where message ->> 'k' = 'delay'), 5, 'is a quarter due timers');
select is((select last_seq from held where msg_id is null), 1, 'and says that there is more');
insert into meshhook_engine.backlog (project_id, message)
  select b, jsonb_build_object('p', b, 'r', gen_random_uuid(), 'n', 'late', 'a', 1, 'k', 'step') from ids, generate_series(1, 9);
select pg_temp.take(20);
select results_eq($$ select count(*) filter (where message ->> 'k' = 'delay')::int, count(*) filter (where message ->> 'n' = 'late')::int
  from held $$, $$ values (3, 2) $$, 'which they share with the backlog');
delete from meshhook_engine.timers;
delete from meshhook_engine.backlog;
delete from pgmq.q_mh_work where vt <= clock_timestamp();

-- intake
insert into meshhook.endpoints (project_id, workflow_id, trigger, slug)
  select project, workflow, 'hook', 'in' from flow;
insert into meshhook_engine.endpoint_secrets (endpoint_id, secret_version, sealed)
  select id, 1, 'v1.k.x.y' from meshhook.endpoints where slug = 'in' and project_id in (select a from ids union select b from ids);
create temp table taken as
  select i.* from (select array_agg(e.id) as e from meshhook.endpoints e, ids where e.project_id = a) x,
    meshhook_engine.intake(x.e || x.e || gen_random_uuid(), '{1,1,1}', '{k1,k1,k1}', '{"{}","{}","{}"}', '{"{}","{}","{}"}') i;
select results_eq('select ord, outcome from taken order by ord',
  $$ values (1, 'started'), (2, 'duplicate'), (3, 'unknown') $$, 'the same key twice in a batch is one run');
select ok((select count(distinct run_id) = 1 from taken where run_id is not null), 'and both hear its id');

-- the lane ahead
create function pg_temp.ahead() returns int language sql as $$
  select count(*)::int from pgmq.q_mh_work where vt < now() - interval '50 years' $$;
delete from pgmq.q_mh_work;
delete from meshhook_engine.admission;
update meshhook.projects set window_size = 1000 where id in (select a from ids union select b from ids);
select pg_temp.start((select a from ids), 150);
select is(pg_temp.ahead(), 100, 'a project''s first 100 are sent ahead');
select pg_temp.start((select a from ids), 1);
select is(pg_temp.ahead(), 100, 'more are not, while they are in the queue');
update pgmq.q_mh_work set vt = clock_timestamp() - interval '1 s';
select pg_temp.start((select b from ids), 2);
select is(pg_temp.take(2), 2, 'a claim');
select is((select count(*)::int from held, ids where message ->> 'p' = b::text), 1,
  'gives half to what was sent ahead of another''s crowd');
select is_empty($$ select * from pg_temp.give('b') as (item int, outcome text, last_seq int, tail jsonb) $$, 'what follows');
select is((select count(*)::int from pgmq.q_mh_work, ids where vt < now() - interval '50 years' and message ->> 'p' = a::text), 0,
  'is in the lane of its project: of the crowd''s');
select is((select count(*)::int from pgmq.q_mh_work, ids where vt < now() - interval '50 years' and message ->> 'p' = b::text), 2,
  'and of the other''s');
select is(pg_temp.take(200), 153, 'all of one lane, when there is no more in the other');
select is(meshhook_engine.release(array(select msg_id from held where msg_id is not null),
  array(select vt from held where msg_id is not null)), 153, 'what comes back');
select is(pg_temp.ahead(), 0, 'is in the common lane');

-- a slice costs what it holds, not what its run has
insert into meshhook.steps (run_id, project_id, step, status, seq)
  select (message ->> 'r')::uuid, (message ->> 'p')::uuid, 'n' || n, 'succeeded', 2
    from (select message from held where msg_id is not null limit 1) m, generate_series(1, 3000) n;
create temp table before as select pg_stat_get_xact_tuples_returned('meshhook.steps_pkey'::regclass) as read;
select is((select meshhook_engine.slice(run_id, '{"k": "delay", "n": "n7", "j": ["n5", "none"], "o": ["n3", "a"]}')
    from meshhook.steps where step = 'n1'),
  '{"input": null, "rows": [["n5", "succeeded", 0, 0, 0, 2], ["n7", "succeeded", 0, 0, 0, 2]], "outputs": {"n3": null}}',
  'a slice of a run with many steps');
select cmp_ok(pg_stat_get_xact_tuples_returned('meshhook.steps_pkey'::regclass) - read, '<', 20::bigint, 'reads those it needs')
  from before;
delete from meshhook.steps where step ~ '^n';

-- suspects
update pgmq.q_mh_work set read_ct = case when msg_id % 3 = 0 then 2 else 0 end;
select is((select least(count(*), 32)::int from pgmq.q_mh_work where msg_id % 3 = 0), pg_temp.take(153),
  'a third delivery comes without fresh ones, 32 at most');
update pgmq.q_mh_work set read_ct = 5, vt = clock_timestamp() - interval '1 s' where msg_id = (select max(msg_id) from held);
select is(pg_temp.take(153), 1, 'a sixth one alone');
select is((select count(*)::int from pgmq.q_mh_work where read_ct not in (0, 2) and vt < clock_timestamp()), 0,
  'the others were put back as not delivered');

select * from finish();
