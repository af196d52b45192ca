-- Service tokens, append_logs and log_lines.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table ids as select pg_temp.project('test-alpha') as project,
  (select id from meshhook.service_tokens where project_id = pg_temp.project('test-alpha')) as token,
  (select id from meshhook.runs where project_id = pg_temp.project('test-alpha')) as run;
grant select on ids to public;

-- Lines of one request: channel indexes, messages, ids.
create function pg_temp.append(p_service text[], p_resource text[], p_channel int[], p_message text[],
  p_id text[] default null)
returns table (kind text, ord int, seq bigint, why text) language sql as $$
  select kind, ord, seq, why from meshhook_engine.append_logs(array(select token from ids),
    array(select i.project from ids i, unnest(p_service)), p_service, p_resource,
    array_fill(1, array[cardinality(p_channel)]), p_channel,
    array(select row_number() over (partition by c order by n)::int
            from unnest(p_channel) with ordinality l(c, n) order by n),
    array_fill(9::smallint, array[cardinality(p_channel)]), p_message,
    array_fill(null::jsonb, array[cardinality(p_channel)]),
    array_fill(null::timestamptz, array[cardinality(p_channel)]),
    coalesce(p_id, array_fill(null::text, array[cardinality(p_channel)])))
  order by kind, ord
$$;
create function pg_temp.lines(name text) returns text language sql as $$
  select string_agg(seq || ' ' || message || coalesce(' by ' || source, ''), ', ' order by seq)
    from meshhook.log_lines(array[name])
$$;

-- Tokens ------------------------------------------------------------------------------------
select matches(token, '^mhs_[A-Za-z0-9_-]{43}$', 'a token') from meshhook.create_service_token('test-alpha', 'etl', 'Nightly');
select throws_ok($$select meshhook.create_service_token('test-alpha', 'run')$$, '23514', null, 'no token writes as the engine');
select throws_ok($$select meshhook.create_service_token('test-alpha', 'a b')$$, '23514', null, 'no such service');
select throws_ok($$select meshhook.create_service_token('test-alpha', 'x', null, now() - interval '1 s')$$, '22023', null,
  'one that has expired is not made');
create temp table made as select * from meshhook.create_service_token('test-alpha', 'etl', 'Soon', now() + interval '1 hour');
select results_eq($$select id, service, project from meshhook_engine.service_token(
    (select encode(sha256(convert_to(token, 'UTF8')), 'hex') from made))$$,
  $$select id, 'etl', 'test-alpha' from made$$, 'a token is found by its hash');
select isnt(last_used_at, null, 'and that it was used is known') from meshhook.service_tokens where id = (select id from made);
select is_empty($$select from meshhook.service_tokens s, made where s::text like '%' || token || '%'$$, 'the token is nowhere');
select is(meshhook.revoke_service_token((select id from made)), true, 'a token is revoked');
select is(meshhook.revoke_service_token((select id from made)), false, 'once');
select is_empty($$select * from meshhook_engine.service_token(
    (select encode(sha256(convert_to(token, 'UTF8')), 'hex') from made))$$, 'what is revoked is not found');
select set_eq($$select action from meshhook.audit_log where subject = (select id::text from made)$$,
  array['service_tokens.insert', 'service_tokens.update'], 'who made it and who revoked it is in the audit log; its use is not');

-- Lines -------------------------------------------------------------------------------------
select results_eq($$select * from pg_temp.append('{app,app}', '{new,""}', '{1,2,1,1}', '{a,b,c,d}')$$,
  $$values ('channel', 1, 0::bigint, null::text), ('channel', 2, 0, null)$$, 'two channels are made');
select is(pg_temp.lines('logs:app:test-alpha:new'), '1 a, 2 c, 3 d', 'numbered as they came');
select is(pg_temp.lines('logs:app:test-alpha'), '1 b', 'the service''s own channel, too');
select results_eq($$select * from pg_temp.append('{app}', '{new}', '{1}', '{e}')$$,
  $$values ('channel', 1, 3::bigint, null::text)$$, 'numbers go on');
select is((select last_seq from meshhook.channels where resource = 'new'), 4::bigint, 'the channel knows its last');
select results_eq($$select * from pg_temp.append('{app}', '{shop}', '{1}', '{x}')$$,
  $$values ('channel', 1, 1::bigint, null::text)$$, 'behind the lines of SQL');

-- Ids ---------------------------------------------------------------------------------------
select results_eq($$select * from pg_temp.append('{app,app}', '{ids,other}', '{1,1,2,1}', '{a,b,a,a again}', '{k1,k2,k1,k1}')$$,
  $$values ('channel', 1, 0::bigint, null::text), ('channel', 2, 0, null), ('duplicate', 4, 1, null)$$,
  'an id is one line of its channel');
select results_eq($$select * from pg_temp.append('{app}', '{ids}', '{1,1,1,1}', '{b,c,n,c}', '{k2,k3,null,k3}')$$,
  $$values ('channel', 1, 2::bigint, null::text), ('duplicate', 1, 2, null), ('duplicate', 4, 3, null)$$,
  'again: only what is new is written');
select is(pg_temp.lines('logs:app:test-alpha:ids'), '1 a, 2 b, 3 c, 4 n', 'each once, without a hole');
select results_eq($$select * from pg_temp.append('{app}', '{ids}', '{1,1}', '{a,b}', '{k1,k2}')$$,
  $$values ('channel', 1, 4::bigint, null::text), ('duplicate', 1, 1, null), ('duplicate', 2, 2, null)$$, 'or nothing at all');
select is((select last_seq from meshhook.channels where resource = 'ids'), 4::bigint, 'and the channel doesn''t move');
update meshhook_engine.log_ids set at = now() - interval '25 hours' where client_id = 'k1';
select pg_temp.append('{app}', '{ids}', '{1}', '{d}', '{k4}');
select is((select count(*) from meshhook_engine.log_ids where client_id = 'k1'), 0::bigint, 'ids are forgotten after a day');

-- Runs --------------------------------------------------------------------------------------
select log_seq as log_seq from meshhook.runs where id = (select run from ids) \gset
select results_eq($$select * from pg_temp.append('{run}', array[(select run::text from ids)], '{1,1}', '{x,y}')$$,
  format('values (''channel'', 1, %s::bigint, null::text)', :log_seq), 'a service adds to a run''s log');
select is((select log_seq from meshhook.runs where id = (select run from ids)), :log_seq + 2, 'the run''s counter moves');
select results_eq($$select distinct source from meshhook.logs where channel_id = (select run from ids) and message in ('x', 'y')$$,
  array['app'], 'its lines say whose they are');
select is((select source from meshhook.logs where channel_id = (select run from ids) and seq = 1), null, 'the engine''s don''t');
select meshhook.cancel_run((select run from ids));
select results_eq($$select * from pg_temp.append('{run,app}', array[(select run::text from ids), 'new'], '{2,1}', '{x,y}')$$,
  $$values ('refused', 1, null::bigint, 'ended')$$, 'a run that is over takes no line');
select results_eq($$select * from pg_temp.append('{run}', array[gen_random_uuid()::text], '{1}', '{x}')$$,
  $$values ('refused', 1, null::bigint, 'run')$$, 'nor does one that isn''t there');
select results_eq($$select * from pg_temp.append('{run}', array[(select id::text from meshhook.runs
    where project_id = pg_temp.project('test-beta'))], '{1}', '{x}')$$,
  $$values ('refused', 1, null::bigint, 'run')$$, 'nor another project''s');
select is(pg_temp.lines('logs:app:test-alpha:new'), '1 a, 2 c, 3 d, 4 e', 'and nothing of such a call is written');
select meshhook.revoke_service_token((select token from ids));
select results_eq($$select * from pg_temp.append('{app}', '{never}', '{1}', '{x}')$$,
  $$values ('refused', 1, null::bigint, 'token')$$, 'a revoked token writes nothing');
select is_empty($$select from meshhook.channels where resource = 'never'$$, 'and makes nothing');

-- Reading -----------------------------------------------------------------------------------
select pg_temp.become('viewer');
select results_eq($$select channel, seq, message from meshhook.log_lines(
    array['logs:app:test-alpha:ids', 'logs:app:test-alpha:nix', 'logs:app:test-alpha'], max_lines => 6)$$,
  $$select 'logs:app:' || project || v.c, v.s, v.m from ids, (values (':ids', 1::bigint, 'a'), (':ids', 2, 'b'), (':ids', 3, 'c'),
    (':ids', 4, 'n'), (':ids', 5, 'd'), ('', 1, 'b')) v (c, s, m)$$, 'channel by channel as they are named');
select results_eq($$select x.message from meshhook.log_lines(array['logs:app:test-alpha:ids', 'logs:app:test-alpha'],
    after_channel => (select id from meshhook.channels where resource = 'ids'), after_seq => 4) x$$,
  array['d', 'b'], 'the next page');
select results_eq($$select x.message from meshhook.log_lines(array['logs:app:test-alpha:ids'], newest_first => true,
    after_channel => (select id from meshhook.channels where resource = 'ids'), after_seq => 3) x$$,
  array['b', 'a'], 'backwards');
select is((select count(*) from meshhook.log_lines(array['logs:app:test-alpha:*'])),
  (select count(*) from meshhook.logs l join meshhook.channels c on c.id = l.channel_id), 'a wildcard: all of a service');
select is((select count(*) from meshhook.log_lines(array['logs:run:test-alpha:*'])),
  (select log_seq::bigint from meshhook.runs where id = (select run from ids)), 'all runs');
select is((select count(*) from meshhook.log_lines(array['logs:run:test-alpha:*', 'logs:app:test-alpha:ids'])),
  (select log_seq + 5::bigint from meshhook.runs where id = (select run from ids)), 'and both kinds at once');
create function pg_temp.pages(n int) returns setof text language plpgsql as $$
declare
  l record;
  last record;
  found boolean := true;
begin
  select null::timestamptz as ts, null::uuid as channel_id, null::bigint as seq into last;
  while found loop
    found := false;
    for l in select * from meshhook.log_lines(array['logs:app:test-alpha:*'], max_lines => n,
      after_ts => last.ts, after_channel => last.channel_id, after_seq => last.seq) loop
      last := l;
      found := true;
      return next l.channel || ' ' || l.seq;
    end loop;
  end loop;
end
$$;
select results_eq('select pg_temp.pages(3)', $$select channel || ' ' || seq from meshhook.log_lines(
  array['logs:app:test-alpha:*']) order by ts, channel_id, seq$$, 'pages of a wildcard: each line once, in order');
select is((select count(*) from meshhook.log_lines(array['logs:app:test-alpha:*'], until => now() - interval '1 day')), 0::bigint,
  'until, and an hour before it');
select is((select count(*) from meshhook.log_lines(array['logs:app:test-alpha:ids'], min_level => 13)), 0::bigint, 'level');
select is((select string_agg(x.message, '') from meshhook.log_lines(array['logs:app:test-alpha:new'], q => 'C') x), 'c', 'substring, either case');
select throws_ok($$select meshhook.log_lines(array['logs:app:test-beta:shop'])$$, 'PT404', null, 'another''s project does not exist');
select throws_ok($$select meshhook.log_lines(array['logs:app:test-alpha:*', 'logs:app:test-beta:*'])$$, 'PT404', null,
  'nor among one''s own');
select throws_ok(format('select meshhook.log_lines(array[%L])', n), '22023', null, format('"%s" is no name', n))
  from unnest(array['', 'logs', 'logs:app', 'x:app:test-alpha', 'logs:run:test-alpha', 'logs:a:b:c:d']) n;
select throws_ok($$select meshhook.log_lines('{}')$$, '22023', null, 'no channel at all');
select throws_ok($$select meshhook.log_lines(array['logs:app:test-alpha:new'], max_lines => 10001)$$, '22023', null, 'too many lines');
select throws_ok($$select meshhook.log_lines(array['logs:app:test-alpha:new'], max_lines => null)$$, '22023', null, 'nor all of them');
select pg_temp.become_owner();
select pg_temp.become('stranger');
select throws_ok($$select meshhook.log_lines(array['logs:app:test-alpha:new'])$$, 'PT404', null, 'to strangers nothing exists');
select pg_temp.become_owner();
select * from finish();
