-- Watching and broadcasting: who may, what is sent, what it costs. Order against other
-- transactions is in tests/engine/live.test.mjs.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table here as select pg_temp.project('test-alpha') as p, r.id as run, c.id as chan
  from meshhook.runs r, meshhook.channels c
  where r.project_id = pg_temp.project('test-alpha') and c.project_id = pg_temp.project('test-alpha');
grant select on here to public;
create function pg_temp.run_channel() returns text language sql stable as
  $$select 'logs:run:' || p || ':' || run from here$$;
create function pg_temp.app_channel() returns text language sql stable as
  $$select 'logs:app:' || p || ':shop' from here$$;

-- What was broadcast since the last look.
create temp table seen (id uuid primary key);
create function pg_temp.heard() returns jsonb language sql as $$
  with m as (select * from realtime.messages m where topic like 'mh:%' and not exists (
      select from seen s where s.id = m.id)),
  s as (insert into seen select id from m)
  select coalesce(jsonb_agg(jsonb_build_object('topic', topic, 'event', event, 'payload', payload,
    'private', private) order by topic), '[]') from m$$;
create function pg_temp.say(message text) returns void language plpgsql as $$
begin
  perform meshhook.log('test-alpha', 'app', 'shop', 'info', message, '{"a": null}');
  set constraints all immediate;
  set constraints all deferred;
end$$;
-- As if so much time had passed since the last message of every channel.
create function pg_temp.rest(ms int) returns void language sql as $$
  update meshhook_engine.watched set sent_at = sent_at - ms * interval '1 millisecond',
    due_at = due_at - ms * interval '1 millisecond'$$;
create function pg_temp.fill() returns void language sql as $$
  delete from meshhook_engine.spent;
  update meshhook_engine.live set tokens = quota * share / 2, refilled_at = clock_timestamp()$$;
create function pg_temp.metric(name text) returns bigint language sql stable as $$
  select coalesce(sum(delta), 0)::bigint from meshhook_engine.counter_deltas where metric = name$$;

update meshhook_engine.live set quota = 100, share = 0.5, interval_ms = 50;

-- Who may watch ------------------------------------------------------------------------------

select is(pg_temp.attempt(actor, format('select * from meshhook.watch(%L)', channel)),
    case when actor in ('owner', 'admin', 'editor', 'viewer', 'service_role') then '1'
         when actor in ('outsider', 'stranger', 'tokenless') then 'PT403' else '42501' end,
    format('watch %s: %s', split_part(channel, ':', 2), actor))
  from actors, (values (pg_temp.run_channel()), (pg_temp.app_channel()),
    ('logs:app:test-alpha:shop'), ('runs:test-alpha')) c (channel);
select is(pg_temp.attempt('viewer', format('select * from meshhook.watch(%L)', channel)), expected,
    format('watch %L', channel))
  from (values ('logs:app:test-alpha:none', 'PT404'), ('logs:none:test-alpha', 'PT404'),
    ('logs:run:test-alpha', 'PT404'), ('logs:run:test-alpha:x', 'PT404'),
    ('logs:run:test-alpha:' || gen_random_uuid(), 'PT404'),
    ('logs:run:test-alpha:' || (select id from meshhook.runs where project_id = pg_temp.project('test-beta')), 'PT404'),
    ('logs:app:test-beta:shop', 'PT403'), ('logs:app:nowhere:shop', 'PT403'), ('', 'PT403'),
    ('logs', 'PT403'), ('runs:', 'PT403'), ('runs:test-alpha:x', 'PT403'), ('logs:a:b:c:d', 'PT403'),
    (null, 'PT403')) c (channel, expected);
select is(pg_temp.attempt('service_role', 'select * from meshhook.watch(''runs:nowhere'')'), 'PT404',
  'service_role is told that there is no such project');
select is_empty('select from meshhook_engine.watched', 'an attempt that was undone leaves nothing');

-- What a watch answers -----------------------------------------------------------------------

select pg_temp.become('viewer');
create temp table first_watch as select * from meshhook.watch(pg_temp.run_channel(), gen_random_uuid());
select pg_temp.become_owner();
select is((select to_jsonb(w) - 'epoch' from first_watch w), jsonb_build_object(
  'topic', 'mh:1:' || pg_temp.run_channel(), 'last_seq', 1, 'ended', false, 'interval_ms', 50),
  'the topic, the last line, and how often it speaks');
select is((select epoch from first_watch), (select log_epoch from meshhook.runs, here where id = run),
  'the epoch is the channel''s');
select is((select topic from meshhook.watch('logs:app:test-alpha:shop')), 'mh:1:' || pg_temp.app_channel(),
  'a project by its slug: the topic has its id');
select is((select to_jsonb(w) from meshhook.watch('runs:test-alpha') w), jsonb_build_object(
  'topic', 'mh:1:runs:' || (select p from here), 'epoch', 0, 'last_seq', null, 'ended', false,
  'interval_ms', 50), 'runs have no numbers');

-- Renewals are written past half of their life only.
delete from meshhook_engine.watchers; delete from meshhook_engine.watched;
create temp table reader as select gen_random_uuid() as id;
select lives_ok('select * from meshhook.watch(pg_temp.run_channel(), (select id from reader))', 'watch');
create temp table begun as select until from meshhook_engine.watched;
select lives_ok('select * from meshhook.watch(pg_temp.run_channel(), (select id from reader))', 'renew');
select is((select until from meshhook_engine.watched), (select until from begun), 'a young watch is not written again');
update meshhook_engine.watchers set until = until - interval '15 seconds';
update meshhook_engine.watched set until = until - interval '15 seconds';
select lives_ok('select * from meshhook.watch(pg_temp.run_channel(), (select id from reader))', 'renew at 15 s');
select is((select until from meshhook_engine.watched), (select until - interval '15 seconds' from begun),
  'nor at 15 s, when there is more than half left');
update meshhook_engine.watchers set until = until - interval '15 seconds';
update meshhook_engine.watched set until = until - interval '15 seconds', sent_seq = 0, due_at = clock_timestamp();
select lives_ok('select * from meshhook.watch(pg_temp.run_channel(), (select id from reader))', 'renew at 30 s');
select ok((select w.until >= b.until from meshhook_engine.watched w, begun b), 'at 30 s it is');
select ok((select sent_seq = 0 and due_at is not null from meshhook_engine.watched),
  'what it was to be told, it still is');
update meshhook_engine.watched set until = clock_timestamp();
select lives_ok('select * from meshhook.watch(pg_temp.run_channel(), (select id from reader))', 'renew too late');
select ok((select sent_seq = 1 and due_at is null from meshhook_engine.watched),
  'one that ran out begins anew, where the channel stands');
select lives_ok('select w.* from generate_series(1, 9) n, meshhook.watch(pg_temp.run_channel(), md5(n::text)::uuid) w', 'ten readers');
select is((select readers from meshhook_engine.watched), 10, 'readers are counted');
select is((select interval_ms from meshhook.watch(pg_temp.run_channel(), (select id from reader))), 220,
  '(1 message + 10 deliveries) / 50 a second: 220 ms');
update meshhook_engine.live set quota = 500;
select is((select interval_ms from meshhook.watch(pg_temp.run_channel(), (select id from reader))), 50,
  'with another plan''s quota: 44, but 50 at least');
update meshhook_engine.live set quota = 100;

insert into meshhook_engine.watchers (channel_id, reader, user_id, until)
  select gen_random_uuid(), gen_random_uuid(), token, clock_timestamp() + interval '1 minute'
  from actors, generate_series(1, 500) where actor = 'viewer';
select is(pg_temp.attempt('viewer', 'select * from meshhook.watch(''runs:test-alpha'')'), 'PT429', '500 watches a user');
select is(pg_temp.attempt('editor', 'select * from meshhook.watch(''runs:test-alpha'')'), '1', 'are nobody else''s business');

select is(pg_temp.attempt('editor', format('select w.* from generate_series(1, %s) n, meshhook.watch(''runs:test-alpha'', md5(n::text)::uuid) w', n)),
  expected, format('%s watches of one channel by a user', n)) from (values (20, '20'), (21, 'PT429')) v(n, expected);
select is(pg_temp.attempt('editor', format('select w.* from generate_series(1, 40) n, meshhook.watch(''runs:test-alpha'', md5((n %% 20)::text)::uuid) w', n)),
  '40', 'renewing them') from (values (1)) v(n);

-- The sweeper.
update meshhook_engine.watchers set until = clock_timestamp() where channel_id <> (select run from here)
  or reader in (select reader from meshhook_engine.watchers, here where channel_id = run limit 4);
update meshhook_engine.live set swept_at = clock_timestamp() - interval '6 seconds';
select is((select wait_ms from meshhook_engine.flush_broadcasts()), 1000, 'somebody watches: again in 1 s');
select is((select readers from meshhook_engine.watched), 6, 'whose watch ran out is no reader any more');
select is((select count(*) from meshhook_engine.watchers), 6::bigint, 'and forgotten');
update meshhook_engine.watched set until = clock_timestamp();
update meshhook_engine.live set swept_at = clock_timestamp() - interval '6 seconds';
select is((select to_jsonb(f) from meshhook_engine.flush_broadcasts() f), '{"sent": 0, "wait_ms": null}',
  'nobody watches: no need to come back');
select is_empty('select from meshhook_engine.watched', 'a channel that nobody watches is forgotten');

-- Lines --------------------------------------------------------------------------------------

select pg_temp.say('before'), pg_temp.heard();
select lives_ok('select * from meshhook.watch(pg_temp.app_channel(), (select id from reader))', 'watch');
select pg_temp.fill(), pg_temp.say('first');
select is(pg_temp.heard() #- '{0,payload,lines,0,ts}', jsonb_build_array(jsonb_build_object(
  'topic', 'mh:1:' || pg_temp.app_channel(), 'event', 'log', 'private', true, 'payload', jsonb_build_object(
    'channel', pg_temp.app_channel(), 'epoch', (select epoch from meshhook.channels, here where id = chan),
    'from', 3, 'to', 3, 'lines', jsonb_build_array(jsonb_build_object('seq', 3, 'level', 9,
      'message', 'first', 'attrs', '{"a": null}'::jsonb, 'source', null))))),
  'the leading edge is sent with the line');
select is((select sum(events) from meshhook_engine.spent), 2::bigint, 'it cost a message and a delivery');
update meshhook_engine.live set interval_ms = 600; -- which must not pass meanwhile: it is counted from a second ahead
select pg_temp.rest(-1000), pg_temp.say('second'), pg_temp.say('third');
select is(pg_temp.heard(), '[]', 'what follows within the interval waits');
select ok((select due_at - sent_at = interval '600 milliseconds' from meshhook_engine.watched), 'its time is known');
select ok((select wait_ms between 5 and 1000 from meshhook_engine.flush_broadcasts()), 'and said');
select is(pg_temp.heard(), '[]', 'and not come');
update meshhook_engine.live set interval_ms = 50;
select pg_temp.rest(1600);
select is((select to_jsonb(f) from meshhook_engine.flush_broadcasts() f), '{"sent": 1, "wait_ms": 1000}', 'a flush sends it');
select is((select jsonb_path_query_array(pg_temp.heard(), '$[*].payload.lines[*].message')), '["second", "third"]', 'in one message');
select is((select count(*) from meshhook_engine.spent), 0::bigint, 'what was spent is taken from the tokens');
select is((select to_jsonb(f) from meshhook_engine.flush_broadcasts() f), '{"sent": 0, "wait_ms": 1000}', 'and then there is nothing to send');

-- The budget.
select pg_temp.fill(), pg_temp.rest(1000);
update meshhook_engine.live set tokens = 12, refilled_at = clock_timestamp();
select pg_temp.say('poor');
select is(pg_temp.heard(), '[]', 'less than half of the bucket is for those who wait');
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'who are served while anything is left');
select is(jsonb_array_length(pg_temp.heard()), 1, 'once');
select pg_temp.rest(1000);
update meshhook_engine.live set tokens = -1000, refilled_at = clock_timestamp();
select pg_temp.say('in debt');
select ok((select sent = 0 and wait_ms = 1000 from meshhook_engine.flush_broadcasts()), 'in debt nothing is sent until it is paid');
create function pg_temp.flush_in_debt() returns table (sent int, wait_ms int, late_ms float8) language plpgsql as $$
declare
  v_from timestamptz := clock_timestamp();
begin
  update meshhook_engine.live set tokens = -25, refilled_at = v_from;
  return query select f.sent, f.wait_ms, 1000 * extract(epoch from clock_timestamp() - v_from)::float8
    from meshhook_engine.flush_broadcasts() f;
end $$;
select ok((select late_ms >= 400 or sent = 0 and wait_ms between 590 - late_ms and 610 from pg_temp.flush_in_debt()),
  '25 events at 50 a second, and a tenth of a second more');
update meshhook_engine.live set refilled_at = clock_timestamp() - interval '520 milliseconds';
update meshhook_engine.watched set readers = 99;
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'then a message goes whatever it costs');
select ok((select tokens between -100 and -75 from meshhook_engine.live), 'and is owed'); -- 25 there were at most
select is(pg_temp.metric('broadcast.sent'), 4::bigint, 'messages are counted');
update meshhook_engine.watched set readers = 1;

-- First come, first served.
select pg_temp.fill(), pg_temp.heard();
insert into meshhook.channels (project_id, service, resource, last_seq)
  select p, 'many', n::text, 0 from here, generate_series(1, 40) n;
insert into meshhook_engine.watched (channel_id, project_id, kind, channel, generation, until, readers, due_at)
  select id, project_id, 'channel', 'logs:many:' || project_id || ':' || resource, 1, clock_timestamp() + interval '1 minute', 4,
    clock_timestamp() - resource::int * interval '1 second'
  from meshhook.channels where service = 'many';
update meshhook.channels set last_seq = 1 where service = 'many';
insert into meshhook.logs (channel_id, seq, project_id, level, message)
  select id, 1, project_id, 9, 'x' from meshhook.channels where service = 'many';
select is((select sent from meshhook_engine.flush_broadcasts()), 5, 'twenty-five tokens are five messages to four readers each');
select is((select count(*) from jsonb_array_elements(pg_temp.heard()) m
  where split_part(m ->> 'topic', ':', 6)::int > 35), 5::bigint, 'to those who waited longest');
delete from meshhook_engine.watched where channel like 'logs:many:%';

-- Hints.
create temp table last as select last_seq as n from meshhook.channels, here where id = chan;
select pg_temp.fill(), pg_temp.rest(1000);
select pg_temp.say(repeat('x', 65000)), pg_temp.rest(-5000), pg_temp.say(repeat('x', 65000)), pg_temp.say(repeat('x', 65000)),
  pg_temp.say(repeat('x', 65000)), pg_temp.say(repeat('x', 65000)), pg_temp.rest(10000), pg_temp.heard();
select pg_temp.fill();
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'four lines of 65,000 bytes');
select is(pg_temp.heard(), jsonb_build_array(jsonb_build_object('topic', 'mh:1:' || pg_temp.app_channel(),
  'event', 'hint', 'private', true, 'payload', jsonb_build_object('channel', pg_temp.app_channel(),
  'epoch', (select epoch from meshhook.channels, here where id = chan), 'last_seq', (select n + 5 from last)))),
  'are over 200 KB: a hint');
select is((select sent_seq from meshhook_engine.watched), (select n + 5 from last), 'after which it goes on behind them');
select pg_temp.fill(), pg_temp.rest(1000), pg_temp.say(repeat(E'\x01', 60000));
select is(pg_temp.heard() #>> '{0,event}', 'hint', 'what grows beyond 200 KB as JSON is a hint, too');
select is(pg_temp.metric('broadcast.hints'), 2::bigint, 'hints are counted');
select pg_temp.fill(), pg_temp.rest(-1000);
select meshhook.log('test-alpha', 'app', 'shop', 'info', 'x') from generate_series(1, 1001);
set constraints all immediate; set constraints all deferred;
select pg_temp.rest(10000) from meshhook_engine.watched;
select is((select sent from meshhook_engine.flush_broadcasts()), 1, '1,001 lines');
select is(pg_temp.heard() #>> '{0,event}', 'hint', 'are a hint');
select ok((select max(octet_length(payload::text)) < 200000 from realtime.messages) is not false, 'nothing is larger');

-- A message that is lost shows in the renewal.
select pg_temp.fill(), pg_temp.rest(1000), pg_temp.say('the last line'), pg_temp.heard();
select is((select last_seq from meshhook.watch(pg_temp.app_channel(), (select id from reader))),
  (select last_seq from meshhook.channels, here where id = chan), 'the renewal says the last line''s number');

-- What fails on Realtime's side fails no commit.
set client_min_messages = error;
set local role supabase_realtime_admin;
revoke insert on realtime.messages from postgres, supabase_realtime_admin, authenticated, service_role, anon;
reset role;
select pg_temp.fill(), pg_temp.rest(1000);
select clock_timestamp() as begun \gset
select lives_ok($$select pg_temp.say('unheard')$$, 'Realtime is out of order: the line is written');
select is((select message from meshhook.logs, here where channel_id = chan order by seq desc limit 1), 'unheard', 'and there');
select is(pg_temp.metric('broadcast.failed'), 1::bigint, 'the failure is counted');
create function pg_temp.again_in(begun timestamptz) returns boolean language sql as $$
  select due_at between begun + interval '1 second' and clock_timestamp() + interval '1 second' from meshhook_engine.watched $$;
select ok(pg_temp.again_in(:'begun'), 'and it is tried again in a second');
select pg_temp.rest(60000);
select clock_timestamp() as begun \gset
select is((select wait_ms is not null from meshhook_engine.flush_broadcasts()), true, 'a flush');
select ok(pg_temp.again_in(:'begun'), 'and in another');
select is(pg_temp.metric('broadcast.failed'), 2::bigint, 'each is counted');
set local role supabase_realtime_admin;
grant insert on realtime.messages to postgres, supabase_realtime_admin, authenticated, service_role, anon;
reset role;
select pg_temp.rest(1000);
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'when it works again');
select is(pg_temp.heard() #>> '{0,payload,lines,0,message}', 'unheard', 'the line is heard');

-- A transaction that ends in a rollback says nothing.
select throws_ok($do$do $body$begin
  perform meshhook.log('test-alpha', 'app', 'shop', 'info', 'never');
  set constraints all immediate;
  raise 'no' using errcode = 'MH999';
end$body$$do$, 'MH999', 'no', 'a transaction that does not commit');
select is(pg_temp.heard(), '[]', 'says nothing');

-- Runs ---------------------------------------------------------------------------------------

select * from meshhook.watch('runs:test-alpha', (select id from reader));
select * from meshhook.watch(pg_temp.run_channel(), (select id from reader));
select pg_temp.fill(), pg_temp.heard();
create temp table started as select meshhook.start_run('test-alpha', 'lead', trigger => 'by_hand') as id;
select is((select message from meshhook.logs, started where channel_id = id), 'run started by by_hand', 'a run starts');
select is(pg_temp.heard(), '[]', 'in a transaction that may last: nothing is locked, nothing sent');
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'a flush sends it');
select is(pg_temp.heard(), (select jsonb_build_array(jsonb_build_object('topic', 'mh:1:runs:' || p, 'event', 'run', 'private', true,
  'payload', jsonb_build_object('channel', 'runs:' || p, 'runs', jsonb_build_array(jsonb_build_object('id', r.id,
    'status', 'running', 'workflow', 'lead', 'version', 1, 'created_at', r.created_at, 'ended_at', null, 'error', null)))))
  from here, meshhook.runs r, started where r.id = started.id), 'with where it stands');
select pg_temp.rest(1000);
select meshhook.cancel_run(run, 'enough') from here;
select is((select jsonb_path_query_array(pg_temp.heard(), '$[*].payload ? (@.ended == true).lines[*].message')), '["run cancelled: enough"]',
  'the last line of a run is sent with its end, and said to be the last');
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'and');
select is((select pg_temp.heard() #>> '{0,payload,runs,0,status}'), 'cancelled', 'its status');
select is((select to_jsonb(w) - '{epoch,interval_ms}'::text[] from meshhook.watch(pg_temp.run_channel()) w), jsonb_build_object(
  'topic', 'mh:1:' || pg_temp.run_channel(), 'last_seq', 2, 'ended', true), 'who watches it now is told that it ended');
select is((select count(*) from meshhook_engine.run_news), 0::bigint, 'news that was sent is gone');

-- Modes --------------------------------------------------------------------------------------

delete from meshhook_engine.watched; delete from meshhook_engine.watchers;
select pg_temp.fill(), pg_temp.say('unwatched');
select is(pg_temp.heard(), '[]', 'watched: what nobody watches is not broadcast');
update meshhook.projects set broadcast = 'all' where slug = 'test-alpha';
select pg_temp.say('for all');
select is((select jsonb_path_query_array(pg_temp.heard(), '$[*].payload.lines[*].message')), '["for all"]', 'all: it is');
create temp table second as select meshhook.start_run('test-alpha', 'lead', trigger => 'by_hand') as id;
select is((select jsonb_path_query_array(pg_temp.heard(), '$[*].payload.lines[*].message')), '["run started by by_hand"]',
  'all: a run from its first line');
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'all: and its');
select is((select pg_temp.heard() #>> '{0,payload,runs,0,id}'), (select id::text from second), 'status');
update meshhook_engine.watched set until = clock_timestamp() - interval '1 second', sent_at = '-infinity', sent_seq = 0 where until <> 'infinity';
select pg_temp.fill(), pg_temp.say('later');
select is((select jsonb_path_query_array(pg_temp.heard(), '$[*].payload.lines[*].message')), '["later"]',
  'all: a channel that was quiet for long begins with what is new');
update meshhook.projects set broadcast = 'watched' where slug = 'test-alpha';
update meshhook_engine.watched set until = least(until, clock_timestamp()), sent_at = '-infinity';
select pg_temp.fill(), pg_temp.say('again unwatched');
select is(pg_temp.heard(), '[]', 'watched again');
select is((select interval_ms from meshhook.watch(pg_temp.app_channel(), (select id from reader))), 50, 'watch');
update meshhook.projects set broadcast = 'off' where slug = 'test-alpha';
select is_empty('select from meshhook_engine.watched', 'off: nothing is watched any more');
select ok((select interval_ms is null and last_seq > 0 from meshhook.watch(pg_temp.app_channel(), (select id from reader))),
  'off: who asks is told to ask again');
select is_empty('select from meshhook_engine.watched', 'off: and not noted');
select is(pg_temp.attempt(actor, $$update meshhook.projects set broadcast = 'all' where slug = 'test-alpha'$$),
    case actor when 'service_role' then '1' else '42501' end, format('set the mode: %s', actor))
  from actors;
update meshhook.projects set broadcast = 'watched' where slug = 'test-alpha';

-- Who may listen -----------------------------------------------------------------------------

-- As Realtime asks: a probe row, the topic and the token in settings, and back.
create function pg_temp.hears(actor_ text, topic_ text) returns text language plpgsql as $$
declare
  n int;
begin
  insert into realtime.messages (topic, extension, private) values (topic_, 'broadcast', true);
  perform set_config('realtime.topic', topic_, true);
  perform pg_temp.become(actor_);
  select count(*) into n from realtime.messages where topic is not distinct from topic_;
  raise exception '%', case when n > 0 then 'yes' else 'no' end using errcode = 'MHTRY';
exception
  when sqlstate 'MHTRY' then return sqlerrm;
  when others then return sqlstate;
end$$;
select is(pg_temp.hears(actor, 'mh:1:' || channel),
    case when actor in ('owner', 'admin', 'editor', 'viewer', 'service_role') then 'yes' else 'no' end,
    format('listen to %s: %s', split_part(channel, ':', 2), actor))
  from actors, (values (pg_temp.run_channel()), (pg_temp.app_channel()), ((select 'logs:app:' || p from here)),
    ((select 'runs:' || p from here))) c (channel) where db_role !~ '^meshhook';
select is(pg_temp.hears('viewer', topic), 'no', format('listen to %L', left(topic, 60)))
  from (values ('mh:2:' || pg_temp.run_channel()), ('mh:0:' || pg_temp.run_channel()), (pg_temp.run_channel()),
    ('mh:1:runs:test-alpha'), ('mh:99999999999:' || pg_temp.run_channel()), ('mh:1:logs:app:' || pg_temp.project('test-beta')),
    ('mh:1:'), ('mh:'), (''), ('room:1'), ('mh:1:logs:app:' || gen_random_uuid()), ('mh:-1:' || pg_temp.run_channel()),
    (E'mh:1:\nruns'), (repeat('mh:1:', 10000))) t (topic);
update actors set token = null where actor = 'tokenless';
select set_config('request.jwt.claims', '{"role": "authenticated", "sub": "no uuid"}', true);
select is(meshhook_engine.may_listen('mh:1:' || pg_temp.run_channel()), false, 'a token of somebody else''s: false, not an error');
select is(meshhook_engine.may_listen('theirs'), false, 'so with a topic of somebody else''s');
select is(meshhook_engine.may_listen(null), false, 'or none');
select set_config('request.jwt.claims', '', true);

-- Who was removed hears nothing more, at once; who remains is told the new topic.
select * from meshhook.watch(pg_temp.app_channel(), (select id from reader));
select * from meshhook.watch('runs:test-alpha', (select id from reader));
select pg_temp.fill(), pg_temp.heard();
select meshhook.remove_member('test-alpha', (select token from actors where actor = 'viewer'));
select is(pg_temp.hears('viewer', 'mh:2:' || pg_temp.app_channel()), 'no', 'removed: not the new topic');
select is(pg_temp.hears('editor', 'mh:2:' || pg_temp.app_channel()), 'yes', 'who remains: the new one');
select is(pg_temp.hears('editor', 'mh:1:' || pg_temp.app_channel()), 'no', 'and not the old one');
select is(pg_temp.heard(), '[]', 'a removal waits for nobody: it sends nothing');
select is((select sent from meshhook_engine.flush_broadcasts()), 2, 'a flush tells who listens');
select is(pg_temp.heard(), (select jsonb_agg(jsonb_build_object('topic', 'mh:1:' || c, 'event', 'moved', 'private', true,
    'payload', '{}'::jsonb) order by 'mh:1:' || c)
  from (values (pg_temp.app_channel()), ('runs:' || pg_temp.project('test-alpha'))) v(c)), 'on the old topics, that they moved and nothing else');
select is((select tokens::int from meshhook_engine.live), 21, 'within the budget: two messages, two deliveries');
select * from meshhook.watch(pg_temp.app_channel(), (select id from reader));
select pg_temp.rest(1000);
select is((select sent from meshhook_engine.flush_broadcasts()), 0, 'once');
select pg_temp.fill(), pg_temp.say('without them');
select is(pg_temp.heard() #>> '{0,topic}', 'mh:2:' || pg_temp.app_channel(), 'what is sent goes to the new topic only');
select is((select topic from meshhook.watch(pg_temp.app_channel(), (select id from reader))), 'mh:2:' || pg_temp.app_channel(),
  'which the renewal tells');
select pg_temp.rest(1000), pg_temp.fill(), pg_temp.heard();
update meshhook.projects set generation = generation + 1 where slug = 'test-alpha';
select pg_temp.say('and a line');
select is((select jsonb_agg(m ->> 'topic' || ' ' || (m ->> 'event')) from jsonb_array_elements(pg_temp.heard()) m),
  jsonb_build_array('mh:2:' || pg_temp.app_channel() || ' moved', 'mh:3:' || pg_temp.app_channel() || ' log'),
  'a line that comes before the flush tells it, too');
update meshhook.projects set generation = 2 where slug = 'test-alpha';

-- After a restore ----------------------------------------------------------------------------

create temp table epochs as select 'run' as kind, id, log_epoch as epoch, final_log_seq is null as goes_on from meshhook.runs
  union all select 'channel', id, epoch, true from meshhook.channels;
select ok((select runs >= 2 and channels >= 42 from meshhook_engine.recover()), 'recover');
select is_empty($$select from epochs e join meshhook.runs r using (id) where (r.log_epoch <> e.epoch) <> e.goes_on$$,
  'every run that goes on has a new epoch, and no other');
select is_empty($$select from epochs e join meshhook.channels c using (id) where c.epoch = e.epoch$$, 'every channel, too');
select is_empty('select from meshhook_engine.watched', 'everybody has to watch anew');
select is((select count(*) from meshhook.audit_log where action = 'recover'), 1::bigint, 'it is on record');
update meshhook.channels set epoch = e from (values (0), (2147483646)) v(e) where channels.id = (select chan from here);
select lives_ok('select r.* from generate_series(1, 3), meshhook_engine.recover() r', 'epochs go round');

-- postgres_changes ---------------------------------------------------------------------------

truncate meshhook.recent_logs;
select pg_temp.say('not copied');
select is_empty('select from meshhook.recent_logs', 'nothing is copied before');
select lives_ok('select meshhook.enable_postgres_changes()', 'enable');
select lives_ok('select meshhook.enable_postgres_changes()', 'enable twice');
select is((select array_agg(schemaname || '.' || tablename order by tablename) from pg_publication_tables
  where pubname = 'supabase_realtime' and schemaname ~ 'meshhook'), '{meshhook.recent_logs,meshhook.runs}', 'what is published');
select pg_temp.say('copied');
select is((select message from meshhook.recent_logs), 'copied', 'a line is copied');
update meshhook.recent_logs set ts = ts - interval '2 minutes';
select pg_temp.say('newer');
select is((select array_agg(message) from meshhook.recent_logs), '{newer}', 'for a minute');
select lives_ok('select meshhook.disable_postgres_changes()', 'disable');
select lives_ok('select meshhook.disable_postgres_changes()', 'disable twice');
select pg_temp.say('not copied');
select is_empty('select from meshhook.recent_logs', 'nothing is copied after');
select is_empty($$select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname ~ 'meshhook'$$, 'or published');

select * from meshhook.watch('runs:test-alpha', (select id from reader));
select meshhook.purge_project('test-alpha');
select is_empty('select from meshhook_engine.watched', 'a project that is purged is not watched');
select is(pg_temp.hears('editor', 'mh:2:' || pg_temp.app_channel()), 'no', 'and nobody listens to it');

select * from finish();
