-- What a gateway asks for streams of live logs: as a user, who may follow what; as itself, what is new.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table ids as select
  pg_temp.project('test-alpha') as alpha, pg_temp.project('test-beta') as beta,
  (select id from meshhook.runs where project_id = pg_temp.project('test-alpha')) as run,
  (select id from meshhook.channels where project_id = pg_temp.project('test-alpha')) as app,
  (select id from meshhook.channels where project_id = pg_temp.project('test-beta')) as foreign_app;
grant select on ids to public;
-- the names of alpha's, as attach() is asked: by the slug
create function pg_temp.attached(actor text, channels text[]) returns table (n int, error text, known boolean)
language plpgsql as $$
begin
  perform pg_temp.become(actor);
  return query select a.n, a.error, a.channel_id is not null from meshhook_engine.attach(channels) a;
  perform pg_temp.become_owner();
end
$$;

-- attach: membership ------------------------------------------------------------------------
select results_eq(format($$select * from pg_temp.attached(%L, array['logs:app:test-alpha:shop',
  'logs:app:test-alpha:*', 'logs:new:test-alpha', 'logs:run:test-alpha:' || (select run from ids),
  'logs:run:' || (select alpha from ids) || ':*'])$$, actor),
  $$values (1, null, true), (2, null, false), (3, null, false), (4, null, true), (5, null, false)$$,
  actor || ' follows what is alpha''s') from actors where actor in ('owner', 'admin', 'editor', 'viewer');
select results_eq(format($$select * from pg_temp.attached(%L, array['logs:app:test-alpha:shop',
  'logs:app:test-alpha:*', 'logs:new:test-alpha', 'logs:run:test-alpha:' || (select run from ids),
  'logs:run:' || (select alpha from ids) || ':*'])$$, actor),
  $$values (1, 'unknown', false), (2, 'unknown', false), (3, 'unknown', false), (4, 'unknown', false),
    (5, 'unknown', false)$$,
  actor || ' sees nothing of it') from actors where actor in ('outsider', 'stranger', 'tokenless');
select is(pg_temp.attempt(actor, $$select from meshhook_engine.attach('{logs:app:test-alpha:shop}')$$), '42501',
  actor || ' may not ask') from actors where actor in ('anon', 'worker', 'gateway', 'monitor', 'service_role');
select results_eq($$select * from pg_temp.attached('viewer', array['logs:run:test-beta:'
  || (select run from ids), 'logs:run:test-alpha:' || (select id from meshhook.runs
    where project_id = (select beta from ids))])$$,
  $$values (1, 'unknown', false), (2, 'unknown', false)$$, 'a run under the wrong project');

-- attach: names -----------------------------------------------------------------------------
select is((select string_agg(coalesce(error, '-'), ' ' order by n) from pg_temp.attached('viewer', array['x', 'logs',
  'logs:app', 'logs::test-alpha', 'logs:app:test-alpha:', 'logs:app:test-alpha:a:b', 'logs:a b:test-alpha:x',
  'logs:*:test-alpha:x', 'logs:app:*:x', 'logs:app:test-alpha:a*', 'LOGS:app:test-alpha:x', 'logs:run:test-alpha',
  'logs:run:test-alpha:shop', '', 'logs:app:test-alpha:shop' || chr(10)])),
  'malformed malformed malformed malformed malformed malformed malformed malformed malformed malformed malformed'
  ' unknown unknown malformed malformed', 'what is no channel');
select pg_temp.become('viewer');
select is((select channel from meshhook_engine.attach(array['logs:run:test-alpha:' || upper((select run from ids)::text)])),
  (select format('logs:run:%s:%s', alpha, run) from ids), 'the canonical channel');
select results_eq($$select last_seq, final_seq, start_seq from meshhook_engine.attach('{logs:app:test-alpha:shop}',
  now() - interval '1 hour')$$, $$values (1::bigint, null::bigint, 0::bigint)$$, 'where it stands; the last line before a moment');
select results_eq($$select start_seq from meshhook_engine.attach('{logs:app:test-alpha:shop}',
  clock_timestamp() + interval '1 hour')$$, $$values (1::bigint)$$, 'and before one that has no line');
select pg_temp.become_owner();

-- tail --------------------------------------------------------------------------------------
create function pg_temp.tail(epoch_ int, after bigint, lines int default 10)
returns table (epoch int, last_seq bigint, final_seq bigint, seq bigint, message text) language sql as $$
  select t.epoch, t.last_seq, t.final_seq, t.seq, t.message
  from meshhook_engine.tail(array[(select app from ids)], array[epoch_], array[after], lines) t $$;
create temp table at as select epoch from meshhook.channels where id = (select app from ids);
update meshhook.channels set last_seq = 4 where id = (select app from ids);
insert into meshhook.logs (channel_id, seq, project_id, level, message)
  select app, n, alpha, 9, 'm' || n from ids, generate_series(2, 4) n;
select results_eq('select seq, message, last_seq from pg_temp.tail((select epoch from at), 1)',
  $$values (2::bigint, 'm2', 4::bigint), (3, 'm3', 4), (4, 'm4', 4)$$, 'lines behind a place, in order');
select results_eq('select seq, last_seq from pg_temp.tail((select epoch from at), 1, 2)',
  $$values (2::bigint, 4::bigint), (3, 4)$$, 'as many as asked for');
select is_empty('select from pg_temp.tail((select epoch from at), 4)', 'nothing where nothing is new');
select results_eq('select seq, last_seq from pg_temp.tail((select epoch + 1 from at), 1)',
  $$values (null::bigint, 4::bigint)$$, 'another epoch: no line, but the state');
select results_eq('select seq, last_seq from pg_temp.tail((select epoch from at), 9)',
  $$values (null::bigint, 4::bigint)$$, 'beyond the end: the state');
delete from meshhook.logs where channel_id = (select app from ids) and seq <= 3;
select results_eq('select seq, last_seq from pg_temp.tail((select epoch from at), 0)',
  $$values (4::bigint, 4::bigint)$$, 'what retention took is missing');
update meshhook.runs set final_log_seq = log_seq where id = (select run from ids);
select results_eq($$select final_seq is not null, seq is null from meshhook_engine.tail(array[(select run from ids)],
  (select array[log_epoch] from meshhook.runs where id = (select run from ids)),
  (select array[log_seq::bigint] from meshhook.runs where id = (select run from ids)), 10)$$,
  $$values (true, true)$$, 'that a run''s channel is over is news');
select is_empty($$select from meshhook_engine.tail(array[gen_random_uuid()], '{1}', '{0}', 10)$$, 'no such channel');

-- line_before: what a look at every line gives, without one -----------------------------------
create temp table long as select gen_random_uuid() as id, alpha from ids;
insert into meshhook.logs (channel_id, seq, project_id, ts, level, message) -- not quite in order, with gaps
  select id, n, alpha, now() - (20000 - n) * interval '1 s' + (n * 7919 % 300 - 150) * interval '1 s', 9, 'x'
    from long, generate_series(1, 20000) n where n > 50 and n % 1000 <> 17 and n not between 9000 and 9500;
select is_empty($$select at, meshhook_engine.line_before(id, 20000, at), brute
  from long, generate_series(now() - interval '6 h', now() + interval '10 min', '97 s') at,
    lateral (select min(seq) - 1 as brute from meshhook.logs where channel_id = long.id and ts >= at) b
  where meshhook_engine.line_before(id, 20000, at) is distinct from brute$$, 'the same line');
create function pg_temp.blocks(query text) returns bigint language plpgsql as $$
declare
  plan jsonb;
begin
  execute 'explain (analyze, buffers, format json) ' || query into plan;
  return (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
end $$;
select cmp_ok(pg_temp.blocks($$select meshhook_engine.line_before(id, 20000, now()) from long$$), '<', 5000::bigint,
  'however long the channel');
select pg_temp.become('outsider');
select is((select meshhook_engine.line_before((select app from ids), 4, '-infinity')), null, 'nothing of another''s channel');
select pg_temp.become_owner();

-- channels_under ----------------------------------------------------------------------------
select results_eq($$select channel_id, service, resource from meshhook_engine.channels_under(
  array[(select alpha from ids)], '{app}', '{*}', array[now() + interval '1 day'], true)$$,
  $$select app, 'app', 'shop' from ids$$, 'all channels of a service, however old');
select results_eq($$select u.start_seq from unnest(array[true, false]) past, meshhook_engine.channels_under(
  array[(select alpha from ids)], '{app}', '{shop}', '{-infinity}', past) u order by past$$,
  $$values (4::bigint), (3)$$, 'the last line before a moment, if that is asked');
select is_empty($$select from meshhook_engine.channels_under(array[(select alpha from ids)], '{app}', '{other}', '{-infinity}', true)$$,
  'not those of another resource');
select results_eq($$select channel_id, start_seq from meshhook_engine.channels_under(
  array[(select alpha from ids)], '{run}', '{*}', array[now() - interval '1 hour'], false)$$,
  $$select run, 0::bigint from ids$$, 'runs that have a line since');
select is_empty($$select from meshhook_engine.channels_under(array[(select alpha from ids)], '{run}', '{*}',
  array[clock_timestamp() + interval '1 hour'], true)$$, 'and none else');
select is_empty($$select from meshhook_engine.channels_under(array[(select alpha from ids)], '{app}', '{*}', '{-infinity}', true,
  array[(select foreign_app from ids)])$$, 'only among the given ones');

-- How much is read for lines that aren't there yet: what is not summarised.
create function pg_temp.blocks_read() returns int language plpgsql set enable_seqscan = off as $$
declare
  plan jsonb;
begin
  execute 'explain (analyze, format json) select from meshhook.logs where ts > now()' into plan;
  return (select coalesce(sum(b::int), 0) from jsonb_path_query(plan, 'strict $.**."Lossy Heap Blocks"') b);
end $$;
-- In a month without a line: elsewhere a vacuum may have been, and have summarised what is filled up now.
select format('drop table meshhook_engine.logs_%s', to_char(now() at time zone 'UTC', 'YYYY_MM')) \gexec
select meshhook_engine.ensure_partitions() \g /dev/null
insert into meshhook.logs (channel_id, seq, project_id, ts, level, message)
  select app, n, alpha, now(), 9, repeat('x', 1000) from ids, generate_series(5, 2004) n;
select cmp_ok(pg_temp.blocks_read(), '>', 200, 'new lines are read whole by whoever looks by time');
select cmp_ok(meshhook_engine.summarize_logs(), '>', 12, 'until a worker summarises them');
select cmp_ok(pg_temp.blocks_read(), '<=', 48, 'then only the last blocks are');
select is(meshhook_engine.summarize_logs(), 0, 'once');

-- members_still -----------------------------------------------------------------------------
select results_eq($$select user_id from meshhook_engine.members_still(array['00000000-0000-4000-8000-00000000000d',
  '00000000-0000-4000-8000-00000000000e']::uuid[], (select array[alpha, alpha] from ids))$$,
  $$values ('00000000-0000-4000-8000-00000000000d'::uuid)$$, 'who is a member still');

select is(pg_temp.attempt(actor, call), '42501', actor || ' may not: ' || call)
from actors, unnest(array[
  $$select from meshhook_engine.tail('{}', '{}', '{}', 1)$$,
  $$select from meshhook_engine.channels_under('{}', '{}', '{}', '{}', true)$$,
  $$select from meshhook_engine.members_still('{}', '{}')$$]) call
where actor <> 'gateway';
select is(pg_temp.attempt('gateway', call), '0', 'the gateway may: ' || call)
from unnest(array[
  $$select from meshhook_engine.tail('{}', '{}', '{}', 1)$$,
  $$select from meshhook_engine.channels_under('{}', '{}', '{}', '{}', true)$$,
  $$select from meshhook_engine.members_still('{}', '{}')$$]) call;
select * from finish();
