-- The outbox, the configuration's version, and who sees to an alert.
\i tests/pgtap/fixture.psql
select no_plan();

update meshhook_engine.leader set holder = gen_random_uuid(), fence = 20, until = clock_timestamp() + interval '1 hour';
delete from meshhook.alert_channels;
create temp table c (name text primary key, id uuid default gen_random_uuid());
insert into c (name) values ('one'), ('two');
select meshhook_engine.set_channel(id, null, name, 'slack', 'https://slack.example', 'v1.k1.x.' || name, null, null) from c;
create function pg_temp.put(channel_ text, group_ text) returns bigint language sql as $$
  insert into meshhook.outbox (channel_id, group_key, dedup_key, kind, body, fence)
  select id, group_, group_, 'new', '{}', 20 from c where name = channel_ returning id $$;
create function pg_temp.take(fence_ bigint default 20, rooms_ jsonb default '{}') returns text language sql as $$
  select coalesce(string_agg(c.name || '/' || t.group_key || case when t.again then ' again' else '' end, ', ' order by t.id), '')
    from meshhook_engine.outbox_take(fence_, 100, '1 minute', (select array_agg(c.id order by c.name) from c where rooms_ ? c.name),
      (select array_agg((rooms_ ->> c.name)::int order by c.name) from c where rooms_ ? c.name), 2) t join c on c.id = t.channel_id $$;
create function pg_temp.done(group_ text, outcome_ text, fence_ bigint default 20, after_ interval default '0') returns void
language sql as $$
  select meshhook_engine.outbox_done(fence_, o.id, outcome_, 500, 'why', after_)
    from meshhook.outbox o where o.group_key = group_ and o.state = 'sending' $$;
create function pg_temp.row(group_ text) returns text language sql as $$
  select string_agg(concat_ws(' ', o.state, o.attempts, o.status, o.problem), ', ' order by o.id)
    from meshhook.outbox o where o.group_key = group_ $$;

-- Order, room, and what is whose --------------------------------------------------------------

select pg_temp.put('one', 'a'), pg_temp.put('one', 'a'), pg_temp.put('one', 'b'), pg_temp.put('one', 'c'), pg_temp.put('two', 'd');
select is((select sealed from meshhook_engine.outbox_take(20, 1, '0 s', '{}', '{}', 1)), 'v1.k1.x.one', 'the target comes with it');
update meshhook.outbox set state = 'queued', attempts = 0, again = false, due_at = now();
select is(pg_temp.take(20, '{"one": 0}'), 'two/d', 'a channel without room waits, others don''t');
select is(pg_temp.take(), 'one/a, one/b', 'the first of each group, a burst of a channel');
select is(pg_temp.take(), 'one/c', 'the next of a group waits for the first');
select pg_temp.done('a', 'later', after_ => '1 hour');
select is(pg_temp.take(), '', 'also while it waits to be sent again');
select is(pg_temp.row('a'), 'queued 1 500 why, queued 0', 'and says why');
update meshhook.outbox set due_at = now() where group_key = 'a';
select is(pg_temp.take(), 'one/a', 'it is first again, and no repeat: it was refused');
select pg_temp.done('a', 'sent');
select is(pg_temp.take(), 'one/a', 'then the next');
select pg_temp.done('b', 'dead');
select is(pg_temp.row('b'), 'dead 1 500 why', 'given up');
select pg_temp.done('c', 'unsent');
select is(pg_temp.row('c'), 'queued 0 500 why', 'what never left counts as no attempt');
select pg_temp.done('d', 'unsure');
select is(pg_temp.take(20, '{"one": 0}'), 'two/d again', 'what may have arrived is marked');

-- Another leads --------------------------------------------------------------------------------

update meshhook_engine.leader set fence = 21;
select throws_ok($$select pg_temp.take(20)$$, 'MH002', null, 'who no longer leads takes nothing');
select throws_ok($$select pg_temp.done('d', 'sent', 20)$$, 'MH002', null, 'and says nothing');
select is(pg_temp.take(21), 'one/c', 'what another sends is left to it for a while');
update meshhook.outbox set due_at = now() where state = 'sending' and fence = 20;
select is(pg_temp.take(21), 'one/a again, two/d again', 'then given again, marked');
select pg_temp.done('a', 'later', 21);
update meshhook.outbox set due_at = now();
select is(pg_temp.take(21, '{"two": 0}'), 'one/a again, one/c again', 'the mark stays');
update meshhook.alert_channels set enabled = false where name = 'one';
update meshhook.outbox set due_at = now();
select is(pg_temp.take(21), 'two/d again', 'a channel that is off gets nothing');
update meshhook.outbox set state = 'dead', ended_at = now() - interval '31 days' where group_key = 'd';
select is(meshhook_engine.outbox_trim(), 1, 'what ended long ago is forgotten');
delete from meshhook.alert_channels where name = 'one';
select is((select count(*) from meshhook.outbox o join c on c.id = o.channel_id), 0::bigint, 'a channel''s messages go with it');

-- Given up, and sent again -----------------------------------------------------------------------

select pg_temp.put('two', 'x'), pg_temp.put('two', 'x'), pg_temp.put('two', 'y');
update meshhook.outbox set state = 'dead', attempts = 9, ended_at = now(), created_at = now() - interval '3 days', problem = 'why'
 where group_key in ('x', 'y');
create function pg_temp.resend() returns text language sql as $$
  select string_agg(o.group_key || ' ' || r.outcome, ', ' order by r.message)
    from meshhook_engine.resend(null, (select id from c where name = 'two')) r join meshhook.outbox o on o.id = r.message $$;
select is(pg_temp.resend(), 'x queued, x queued, y queued', 'all of a channel''s');
select is((select string_agg(concat_ws(' ', subject = o.id::text, detail ->> 'group', detail ->> 'problem'), ', ' order by a.id)
  from meshhook.audit_log a join meshhook.outbox o on o.id::text = a.subject where action = 'alert.resend'), 't x why, t x why, t y why', 'audited');
select is(pg_temp.resend(), null, 'once');
select is((select string_agg(concat_ws(' ', t.group_key, t.attempts, t.age_ms < 60000), ', ' order by t.id)
  from meshhook_engine.outbox_take(21, 100, '1 minute') t where t.group_key in ('x', 'y')), 'x 1 t, y 1 t', 'in their order, with all the time that a new one has');
select pg_temp.done('x', 'dead', 21), pg_temp.done('y', 'dead', 21);
update meshhook.outbox set state = 'sent', ended_at = now() where group_key = 'x' and state = 'queued';
select is(pg_temp.resend(), 'x overtaken, y queued', 'not what a later one of its group has overtaken');
select is((select string_agg(r.outcome, ', ') from meshhook.outbox o, meshhook_engine.resend(o.id, null) r
  where o.group_key = 'x' and o.state = 'dead'), 'overtaken', 'not by its number either');

-- The version moves with what the monitor reads --------------------------------------------------

create function pg_temp.moves(statement_ text) returns boolean language plpgsql as $$
declare
  v_was bigint := meshhook_engine.alert_version();
begin
  set constraints all deferred;
  update meshhook_engine.alert_config set moved_by = null;
  execute statement_;
  set constraints all immediate;
  return meshhook_engine.alert_version() > v_was;
end $$;
select ok(pg_temp.moves($$insert into meshhook.alert_rules (name, expr) values ('pgtap', 'a > 1')$$), 'a new rule');
select ok(pg_temp.moves($$update meshhook.alert_rules set expr = 'a > 2' where name = 'pgtap'$$), 'a changed one');
select ok(not pg_temp.moves($$update meshhook.alert_rules set problem = 'x' where name = 'pgtap'$$), 'not what the monitor says of it');
select ok(pg_temp.moves($$insert into meshhook.silences (ends_at) values (now() + interval '1 h')$$), 'a silence');
select ok(pg_temp.moves($$delete from meshhook.alert_channels$$), 'a channel that goes');

-- Acknowledging -------------------------------------------------------------------------------

insert into meshhook.alerts (id, rule_id, labels, state, value, since, fired_at)
select '00000000-0000-4000-8000-000000000001', id, '{}', 'firing', 1, now(), now() from meshhook.alert_rules where name = 'pgtap';
select throws_ok($$select meshhook.acknowledge_alert('00000000-0000-4000-8000-000000000001', repeat('x', 1001))$$, '23514', null,
  'the monitor reads notes: they are short');
select ok(pg_temp.moves($$select meshhook.acknowledge_alert('00000000-0000-4000-8000-000000000001', 'on it')$$), 'the monitor hears of it');
select ok(not meshhook.acknowledge_alert('00000000-0000-4000-8000-000000000001'), 'once');
select is((select concat_ws(' ', change, actor is not null) from meshhook.alert_history
  where alert_id = '00000000-0000-4000-8000-000000000001'), 'acknowledged t', 'it is in the history, with who did it');
update meshhook.alert_rules set enabled = false where name = 'pgtap';
select is((select state from meshhook.alerts where id = '00000000-0000-4000-8000-000000000001'), 'resolved', 'a rule that is off fires no more');
select throws_ok($$delete from meshhook.alert_history where rule = 'pgtap'$$, null, null, 'history is append-only');

-- No project's rows keep the monitor from its work ------------------------------------------------

create function pg_temp.as_admin(statement_ text) returns text language sql as
  $$select pg_temp.attempt('admin', replace(statement_, 'P', quote_literal(pg_temp.project('test-alpha'))))$$;
select is(pg_temp.as_admin($$insert into meshhook.alert_rules (project_id, name, expr)
  select P, 'r' || i, '1' from generate_series(1, 150) i$$), '150', 'many rules');
select is(pg_temp.as_admin($$insert into meshhook.alert_rules (project_id, name, expr)
  select P, 'r' || i, '1' from generate_series(1, 201) i$$), '54000', 'not any number of them');
select is(pg_temp.as_admin($$insert into meshhook.silences (project_id, ends_at)
  select P, now() + interval '1 h' from generate_series(1, 1001) i$$), '54000', 'nor of silences');
select is(pg_temp.as_admin($$insert into meshhook.silences (project_id, starts_at, ends_at)
  select P, now() - interval '2 h', now() - interval '1 h' from generate_series(1, 1001) i$$), '1001', 'but for those that are over');
select is(pg_temp.as_admin($$insert into meshhook.alert_rules (project_id, name, expr, labels)
  values (P, 'r', '1', jsonb_build_object('k', repeat('x', 1000)))$$), '23514', 'labels end up in keys: they are short');
insert into meshhook.alert_channels (project_id, name, kind, target) values (pg_temp.project('test-alpha'), 'k', 'slack', 'https://slack.example');
select is(pg_temp.as_admin($$update meshhook.alert_channels set group_by = array[repeat('x', 129)] where name = 'k'$$),
  '23514', 'so are the names that they go by');
select * from finish();
