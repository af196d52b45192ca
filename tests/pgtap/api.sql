-- start_run, cancel_run and log inside a transaction of one's own; publishing and endpoints.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table ids as select
  (select id from meshhook.projects where slug = 'test-alpha') as project,
  (select id from meshhook.workflows where name = 'lead' and project_id = pg_temp.project('test-alpha')) as workflow,
  (select id from meshhook.runs where project_id = pg_temp.project('test-alpha')) as run;
grant select on ids to public;
create function pg_temp.counts() returns text language sql as $$
  select format('%s runs, %s events, %s lines, %s staged, %s queued, %s counted, %s keys',
    (select count(*) from meshhook.runs), (select count(*) from meshhook.run_events),
    (select count(*) from meshhook.logs), (select count(*) from meshhook_engine.staged_logs),
    (select count(*) from pgmq.q_mh_work) + (select count(*) from meshhook_engine.backlog),
    (select sum(queued) from meshhook_engine.admission), (select count(*) from meshhook_engine.deliveries))
$$;

-- start_run ---------------------------------------------------------------------------------
select pg_temp.counts() as before \gset
savepoint user_work;
create temp table orders (id int);
insert into orders values (1);
select ok(meshhook.start_run('test-alpha', 'lead', '{"order": 1}', 'hook', 'order 1') is not null, 'a run is started');
select meshhook.log('test-alpha', 'app', 'shop', 'info', 'order 1');
set constraints all immediate;
select isnt(pg_temp.counts(), :'before', 'the transaction that starts a run sees it');
rollback to user_work;
select is(pg_temp.counts(), :'before', 'run, events, message, count, key and line vanish with the transaction');

select meshhook.start_run('test-alpha', 'lead', '{"order": 2}') as run \gset
select results_eq(format('select project_id, workflow_id, status, trigger from meshhook.runs where id = %L', :'run'),
  $$select project, workflow, 'running', 'by_hand' from ids$$, 'a run by the only manual trigger');
select results_eq(format('select seq, type, payload -> ''input'' from meshhook.run_events where run_id = %L', :'run'),
  $$values (1, 'run.started', '{"order": 2}'::jsonb)$$, 'its input is in its first event');
select is((select count(*) from meshhook_engine.backlog where message ->> 'r' = :'run'), 1::bigint,
  'its entry step waits behind its project''s backlog');
select is(meshhook.start_run('test-alpha', 'lead', dedupe_key => 'once'), (select run from ids),
  'the same dedupe_key gives the same run');
select isnt(meshhook.start_run('test-beta', 'lead', dedupe_key => 'once'), (select run from ids),
  'in another project it is another key');
select ok(meshhook.start_run((select project::text from ids), 'lead', trigger => 'hook') is not null, 'by id, and by another trigger');
select throws_ok($$select meshhook.start_run('test-alpha', 'lead', trigger => 'nix')$$, '22023', null, 'no such trigger');
select throws_ok($$select meshhook.start_run('test-alpha', 'nix')$$, 'PT404', null, 'no such workflow');
select throws_ok($$select meshhook.start_run('test-alpha', 'lead', jsonb_build_object('x', repeat('x', 16777216)))$$, '54000', null,
  'more input than a worker should hold');
select throws_ok($$select meshhook.start_run('nix', 'lead')$$, 'PT404', null, 'no such project');
select throws_ok($$select meshhook.start_run('test-alpha', 'sketch')$$, '22023', null, 'a draft can''t be started');
select ok(slot < 0, 'a caller''s transaction holds no slot of a worker''s')
  from meshhook_engine.admission where project_id = (select project from ids);

-- A SECURITY DEFINER trigger starts runs for people who are members of nothing.
create table public.test_orders (id int primary key);
create function public.test_ordered() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook.start_run('test-alpha', 'lead', to_jsonb(new));
  perform meshhook.log('test-alpha', 'app', 'orders', 'info', 'order ' || new.id);
  return new;
end
$$;
create trigger test_ordered after insert on public.test_orders for each row execute function public.test_ordered();
grant insert on public.test_orders to authenticated;
select is(pg_temp.attempt('stranger', 'insert into public.test_orders values (1)'), '1', 'a definer''s trigger starts runs');
alter function public.test_ordered() security invoker;
select is(pg_temp.attempt('stranger', 'insert into public.test_orders values (1)'), 'PT404', 'an invoker''s doesn''t');

-- log ---------------------------------------------------------------------------------------
select meshhook.log('test-alpha', 'app', r, l, r || ' ' || i, jsonb_build_object('i', i))
  from generate_series(1, 50) i, unnest(array['shop', 'till', '']) r, unnest(array['warn', 'error']) l;
select is((select count(*) from meshhook_engine.staged_logs), 300::bigint, 'lines are staged until the commit');
savepoint half;
select meshhook.log('test-alpha', 'app', 'shop', 'info', 'never said');
rollback to half;
set constraints all immediate;
select is((select count(*) from meshhook_engine.staged_logs), 0::bigint, 'then they are numbered');
select results_eq($$select c.resource, c.last_seq, count(*), min(l.seq), max(l.seq), count(distinct l.seq)
    from meshhook.channels c join meshhook.logs l on l.channel_id = c.id
    where c.project_id = (select project from ids) group by c.id order by 1$$,
  $$values ('', 100::bigint, 100::bigint, 1::bigint, 100::bigint, 100::bigint), ('shop', 101, 101, 1, 101, 101),
    ('till', 100, 100, 1, 100, 100)$$, 'contiguously by channel');
select is_empty($$select from meshhook.logs l join meshhook.logs n on n.channel_id = l.channel_id and n.seq = l.seq + 1
  where l.channel_id in (select id from meshhook.channels) and n.ts < l.ts$$, 'in the order in which they were said');
select is((select level from meshhook.logs where message = 'till 7' order by seq limit 1), 13::smallint, 'levels are numbers');
select meshhook.log('test-alpha', 'app', 'shop', 'INFO', 'one more');
select is((select last_seq from meshhook.channels where resource = 'shop' and project_id = (select project from ids)),
  102::bigint, 'and go on after');
select throws_ok($$select meshhook.log('test-alpha', 'app', 'x', 'loud', 'm')$$, '22023', null, 'no such level');
select throws_ok($$select meshhook.log('test-alpha', 'run', 'x', 'info', 'm')$$, '23514', null, 'a run''s channel is the engine''s alone');
select throws_ok($$select meshhook.log('test-alpha', 'app', 'a b', 'info', 'm')$$, '23514', null, 'names are of [A-Za-z0-9_.-]');
select throws_ok($$select meshhook.log('test-alpha', 'app', 'x', 'info', repeat('m', 65537))$$, '54000', null, 'a line has its bounds');
set constraints all deferred;

-- cancel_run ----------------------------------------------------------------------------------
select pg_temp.become('editor');
select is(meshhook.cancel_run((select run from ids), 'enough'), true, 'an editor cancels');
select is(meshhook.cancel_run((select run from ids)), false, 'once');
select throws_ok($$select meshhook.cancel_run(gen_random_uuid())$$, 'PT404', null, 'no such run');
select throws_ok(format('select meshhook.cancel_run(%L, repeat(%L, 1001))', (select run from ids), 'x'), '54000', null, 'a novel for a reason');
select pg_temp.become_owner();
select results_eq($$select seq, type, payload from meshhook.run_events where run_id = (select run from ids) order by seq$$,
  $$select 1, 'run.started', payload from meshhook.run_events where run_id = (select run from ids) and seq = 1
    union all select * from (values
      (2, 'run.cancel_requested', '{"by": "user:00000000-0000-4000-8000-00000000000c", "reason": "enough"}'::jsonb),
      (3, 'run.cancelled', '{"reason": "enough"}')) v$$,
  'the fact and its acknowledgement, with who and why');
select results_eq($$select r.status, r.last_seq, r.final_log_seq = r.log_seq, r.ended_at is not null,
    (select max(seq) = r.log_seq and count(*) = r.log_seq from meshhook.logs where channel_id = r.id),
    (select count(*) from meshhook_engine.timers where run_id = r.id)
    from meshhook.runs r where id = (select run from ids)$$,
  $$values ('cancelled', 3, true, true, true, 0::bigint)$$, 'the run is over, its log is closed, its timers are gone');

-- Publishing and endpoints --------------------------------------------------------------------
select is(meshhook_engine.publish_version(workflow, '{"nodes": [1]}', '{"hook": {}}'), 2, 'the next version') from ids;
select is(meshhook_engine.publish_version(workflow, '{"nodes": [1]}', '{"hook": {}}'), 2, 'the same again is the same') from ids;
select is((select published_version from meshhook.workflows where id = workflow), 2, 'new runs take it') from ids;
select throws_ok($$select meshhook_engine.publish_version(gen_random_uuid(), '{}', '{}')$$, 'PT404', null, 'no such workflow');
select results_eq($$select (l).workflow, (l).version, (l).definition from (select meshhook_engine.load_version(id) l
  from meshhook.versions where version = 2) x$$, $$values ('lead', 2, '{"nodes": [1]}'::jsonb)$$, 'a worker loads it');
select meshhook_engine.rotate_endpoint(id, 'sealed anew') as version from meshhook.endpoints
  where project_id = (select project from ids) \gset
select is(:version, 2, 'rotating makes the next secret');
select results_eq($$select secret_version, sealed from meshhook_engine.endpoint_lookup('test-alpha', 'in')$$,
  $$values (2, 'sealed anew'), (1, 'sealed test-alpha')$$, 'both are accepted for a while');
update meshhook_engine.endpoint_secrets set expires_at = now() where secret_version = 1;
select results_eq($$select secret_version from meshhook_engine.endpoint_lookup('test-alpha', 'in')$$, 'values (2)', 'then the new one');
select is(meshhook_engine.create_endpoint('test-alpha', 'given', 'lead', 'hook', 's', project), project, 'an id may be given') from ids;

-- Counters ------------------------------------------------------------------------------------
insert into meshhook_engine.counter_deltas (project_id, metric, delta)
  select project, 'test', 2 from ids, generate_series(1, 10);
select cmp_ok(meshhook_engine.compact_counters(), '>=', 10::bigint, 'deltas are folded');
select is(meshhook_engine.compact_counters(), 0::bigint, 'once');
select results_eq($$select c.value, c.project_id is not distinct from i.project from ids i, meshhook.counters c
  where metric = 'test' order by 2$$, 'values (20::bigint, false), (20, true)', 'into their sums, the project''s and that of all');

-- Ids -----------------------------------------------------------------------------------------
select ok(bool_and(meshhook_engine.uuid7()::text ~ '^.{14}7.{4}[89ab]'), 'ids are UUIDv7') from generate_series(1, 1000);
select ok(meshhook_engine.uuid7_time(meshhook_engine.uuid7()) between clock_timestamp() - interval '1 second'
  and clock_timestamp(), 'on the database''s clock');
select is(meshhook_engine.uuid7_time(meshhook_engine.uuid7_floor(t)), t, 'the bound of a moment is that moment')
  from (values ('2026-11-01 00:00:00+00'::timestamptz), ('1970-01-01+00'), ('2999-12-31 23:59:59.999+00')) v (t);

select * from finish();
