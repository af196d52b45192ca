-- Every table x everybody x every operation, with rows of two projects behind each.
\i tests/pgtap/fixture.psql
select no_plan();

-- members: the least role in a project whose members the operation works for, on that project's
-- rows; nobody: not granted at all. service: service_role may, on all rows. All others may
-- nothing. Statements speak of the project test-alpha; where none is given, a plain one will do.
create temp table expected (
  tab text, op text, members text default 'nobody', service boolean default false, statement text);

insert into expected (tab, op, members, service)
  select 'meshhook.' || t, 'select', case when t in ('audit_log', 'service_tokens', 'webhook_bodies', 'alert_channels',
        'outbox')
      then 'admin' else 'viewer' end, true
  from unnest(array['projects', 'members', 'workflows', 'versions', 'endpoints', 'runs', 'steps',
    'run_events', 'logs', 'channels', 'recent_logs', 'counters', 'audit_log', 'service_tokens',
    'secrets', 'webhook_bodies', 'queue_metrics', 'queue_metrics_minute',
    'alert_rules', 'alerts', 'alert_history', 'silences', 'alert_channels', 'outbox']) t;
insert into expected values ('meshhook.workers', 'select', 'nobody', true);

insert into expected values
  ('meshhook.projects', 'insert', 'nobody', true,
    $$insert into meshhook.projects (slug, name) values ('test-new', 'New')$$),
  ('meshhook.projects', 'update', 'admin', true,
    $$update meshhook.projects set name = 'x' where slug = 'test-alpha'$$),
  ('meshhook.projects', 'update window', 'nobody', true,
    $$update meshhook.projects set window_size = 5 where slug = 'test-alpha'$$),
  ('meshhook.projects', 'update broadcast', 'nobody', true,
    $$update meshhook.projects set broadcast = 'off' where slug = 'test-alpha'$$),
  ('meshhook.projects', 'update generation', 'nobody', false,
    $$update meshhook.projects set generation = 5$$),
  ('meshhook.members', 'insert', 'admin', true,
    $$insert into meshhook.members (project_id, user_id, role)
      select id, gen_random_uuid(), 'admin' from target$$),
  ('meshhook.members', 'insert an owner', 'owner', true,
    $$insert into meshhook.members (project_id, user_id, role)
      select id, gen_random_uuid(), 'owner' from target$$),
  ('meshhook.members', 'update', 'admin', true,
    $$update meshhook.members set role = 'editor'
      where project_id = (select id from target) and role = 'viewer'$$),
  ('meshhook.members', 'update to owner', 'owner', true,
    $$update meshhook.members set role = 'owner'
      where project_id = (select id from target) and role = 'viewer'$$),
  ('meshhook.members', 'update user', 'nobody', false,
    $$update meshhook.members set user_id = gen_random_uuid()$$),
  ('meshhook.members', 'delete', 'admin', true,
    $$delete from meshhook.members where project_id = (select id from target)
      and user_id = '00000000-0000-4000-8000-00000000000c' and auth.uid() is distinct from user_id$$),
  ('meshhook.workflows', 'insert', 'editor', true,
    $$insert into meshhook.workflows (project_id, name, draft) select id, 'new', '{}' from target$$),
  ('meshhook.workflows', 'update', 'editor', true,
    $$update meshhook.workflows set draft = '{"a": 1}'
      where project_id = (select id from target) and name = 'lead'$$),
  ('meshhook.workflows', 'update version', 'nobody', false,
    $$update meshhook.workflows set published_version = 1$$),
  ('meshhook.workflows', 'delete', 'admin', true,
    $$delete from meshhook.workflows where project_id = (select id from target) and name = 'sketch'$$),
  ('meshhook.alert_rules', 'insert', 'admin', true,
    $$insert into meshhook.alert_rules (project_id, name, expr) select id, 'x', 'a > 1' from target$$),
  ('meshhook.alert_rules', 'insert for all', 'nobody', true,
    $$insert into meshhook.alert_rules (name, expr) values ('x', 'a > 1')$$),
  ('meshhook.alert_rules', 'update', 'admin', true,
    $$update meshhook.alert_rules set enabled = false where project_id = (select id from target)$$),
  ('meshhook.alert_rules', 'update project', 'nobody', false,
    $$update meshhook.alert_rules set project_id = null$$),
  ('meshhook.alert_rules', 'delete', 'admin', true,
    $$delete from meshhook.alert_rules where project_id = (select id from target)$$),
  ('meshhook.silences', 'insert', 'editor', true,
    $$insert into meshhook.silences (project_id, ends_at) select id, now() + interval '1 h' from target$$),
  ('meshhook.silences', 'update', 'editor', true,
    $$update meshhook.silences set ends_at = now() + interval '2 h' where project_id = (select id from target)$$),
  ('meshhook.silences', 'delete', 'editor', true,
    $$delete from meshhook.silences where project_id = (select id from target)$$),
  ('meshhook.alert_channels', 'update', 'admin', true,
    $$update meshhook.alert_channels set enabled = false where project_id = (select id from target)$$),
  ('meshhook.alert_channels', 'update target', 'nobody', false,
    $$update meshhook.alert_channels set target = 'https://elsewhere'$$),
  ('meshhook.alert_channels', 'delete', 'admin', true,
    $$delete from meshhook.alert_channels where project_id = (select id from target)$$),
  ('meshhook.endpoints', 'update', 'admin', true,
    $$update meshhook.endpoints set enabled = false where project_id = (select id from target)$$),
  ('meshhook.endpoints', 'update slug', 'nobody', false,
    $$update meshhook.endpoints set slug = 'x'$$);

-- All the rest is refused to everybody: the engine's tables, partitions, the queue.
create temp table all_tables as
  select n.nspname || '.' || c.relname as tab, (select quote_ident(a.attname) from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity = ''
    order by a.attnum limit 1) as col
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and (n.nspname in ('meshhook', 'meshhook_engine')
    or n.nspname = 'pgmq' and c.relname in ('q_mh_work', 'q_mh_dead', 'a_mh_work', 'a_mh_dead'));
insert into expected (tab, op)
  select tab, op from all_tables, unnest(array['select', 'insert', 'update', 'delete', 'truncate']) op
  except select tab, op from expected;
update expected e set statement = case op
    when 'select' then 'select from ' || e.tab
    when 'insert' then 'insert into ' || e.tab || ' default values'
    when 'update' then format('update %s set %s = %2$s', e.tab, col)
    when 'delete' then 'delete from ' || e.tab
    when 'truncate' then 'truncate ' || e.tab end
  from all_tables t where t.tab = e.tab and statement is null;

create temp table target as select pg_temp.project('test-alpha') as id;
grant select on target to public;

create function pg_temp.rows_of(tab text, slug text) returns bigint language plpgsql as $$
declare
  n bigint;
begin
  execute 'select count(*) from ' || tab || case when slug is not null then format(
    ' where %s = %L', case tab when 'meshhook.projects' then 'id' else 'project_id' end,
    pg_temp.project(slug)) else '' end into n;
  return n;
end
$$;

create function pg_temp.outcome(e expected, actor text) returns text language plpgsql as $$
declare
  ranks constant text[] := array['viewer', 'editor', 'admin', 'owner'];
  least_rank int := array_position(ranks, e.members);
begin
  if actor = 'service_role' and e.service then
    return case e.op when 'select' then pg_temp.rows_of(e.tab, null) else 1 end;
  elsif actor in ('anon', 'worker', 'gateway', 'monitor', 'service_role') or least_rank is null then
    return '42501';
  elsif array_position(ranks, actor) >= least_rank then
    return case e.op when 'select' then pg_temp.rows_of(e.tab, 'test-alpha') else 1 end;
  elsif actor = 'outsider' and e.op = 'select' then
    return pg_temp.rows_of(e.tab, 'test-beta');
  elsif e.op like 'insert%' or e.op = 'update to owner' and actor = 'admin' then
    return '42501';
  end if;
  return '0';
end
$$;

select is_empty($$select tab from all_tables where pg_temp.rows_of(tab, null) = 0
  and tab in (select tab from expected where members <> 'nobody')$$,
  'each table that people see has rows');
select is(pg_temp.attempt(actor, statement), pg_temp.outcome(e, actor),
    format('%s: %s: %s', tab, op, actor))
  from expected e, actors order by tab, op, actor;

-- Sequences give nothing away either.
select is(pg_temp.attempt(actor, format('select nextval(%L)', s.oid::regclass)), '42501',
    format('%s: %s', s.oid::regclass, actor))
  from pg_class s, actors
  where s.relkind = 'S' and s.relnamespace in ('meshhook'::regnamespace, 'meshhook_engine'::regnamespace)
  order by s.oid, actor;

-- Functions: who may not, is refused; x itself is for those who may do it anywhere.
create temp table calls (call text, may text[]);
insert into calls values
  ($$select meshhook.create_project('test-new', 'New')$$, '{service_role}'),
  ($$select meshhook.add_member('test-alpha', gen_random_uuid(), 'viewer')$$, '{owner, admin, service_role}'),
  ($$select meshhook.set_role('test-alpha', '00000000-0000-4000-8000-00000000000d', 'editor')$$,
    '{owner, admin, service_role}'),
  ($$select meshhook.remove_member('test-alpha', '00000000-0000-4000-8000-00000000000d')$$,
    '{owner, admin, viewer, service_role}'), -- the viewer leaves
  ($$select meshhook.push_workflow('test-alpha', 'lead', '{}')$$, '{owner, admin, editor, service_role}'),
  ($$select meshhook.start_run('test-alpha', 'lead')$$, '{owner, admin, editor, service_role}'),
  ($$select meshhook.log('test-alpha', 'app', 'x', 'info', 'm')$$, '{owner, admin, editor, service_role}'),
  ($$select meshhook.cancel_run((select id from a_run))$$, '{owner, admin, editor, service_role}'),
  ($$select meshhook.purge_project('test-alpha')$$, '{owner, service_role}'),
  ($$select meshhook.create_service_token('test-alpha', 'etl')$$, '{owner, admin, service_role}'),
  ($$select meshhook.revoke_service_token((select id from a_token))$$, '{owner, admin, service_role}'),
  ($$select meshhook.log_lines(array['logs:app:test-alpha:shop'])$$,
    '{owner, admin, editor, viewer, service_role}'),
  ($$select meshhook_engine.create_service_token((select id from target), 'etl', null, null)$$, '{service_role}'),
  ($$select meshhook_engine.revoke_service_token((select id from a_token))$$, '{service_role}'),
  ($$select meshhook_engine.service_token('00')$$, '{gateway}'),
  ($$select meshhook_engine.append_logs(array[(select id from a_token)], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')$$,
    '{gateway}'),
  ($$select meshhook_engine.start_run((select id from target), 'lead', '{}', null, null)$$, '{service_role}'),
  ($$select meshhook_engine.cancel_run((select id from a_run), null)$$, '{service_role}'),
  ($$select meshhook_engine.log((select id from target), 'app', 'x', 'info', 'm', null)$$, '{service_role}'),
  ($$select meshhook_engine.purge_project((select id from target))$$, '{service_role}'),
  ($$select meshhook_engine.publish_version((select id from target), '{}', '{}')$$, '{}'),
  ($$select meshhook_engine.create_endpoint('test-alpha', 'e', 'lead', 'hook', 's')$$, '{}'),
  ($$select meshhook_engine.rotate_endpoint((select id from target), 's')$$, '{}'),
  ($$select meshhook_engine.set_endpoint((select id from target), '{}')$$, '{}'),
  ($$select meshhook_engine.purge_alerts((select id from target))$$, '{}'),
  ($$select meshhook_engine.doctor()$$, '{}'),
  ($$select meshhook_engine.schema_info()$$, '{worker, gateway, monitor}'),
  ($$select meshhook_engine.goodbye((select id from target))$$, '{worker, gateway, monitor}'),
  ($$select meshhook_engine.ensure_partitions()$$, '{worker}'),
  ($$select meshhook_engine.compact_counters()$$, '{worker}'),
  ($$select meshhook_engine.summarize_logs()$$, '{worker}'),
  ($$select meshhook.explain((select id from a_run))$$, '{owner, admin, editor, viewer, service_role}'),
  ($$select meshhook_engine.explain((select id from a_run))$$, '{service_role}'),
  ($$select count(*) from meshhook.slo('test-alpha')$$, '{owner, admin, editor, viewer, service_role}'),
  ($$select count(*) from meshhook.slo()$$, '{service_role}'),
  ($$select count(*) from meshhook_engine.slo(null, now(), 0.9)$$, '{service_role}'),
  ($$select count(*) from meshhook_engine.scrape(true)$$, '{gateway}'),
  ($$select meshhook.acknowledge_alert((select id from an_alert))$$, '{owner, admin, editor, service_role}'),
  ($$select meshhook_engine.acknowledge((select id from an_alert), null)$$, '{service_role}'),
  ($$select count(*) from meshhook_engine.metric_history('{}', '{}', now(), now())$$, '{monitor}'),
  ($$select meshhook_engine.alert_load()$$, '{monitor}'),
  ($$select meshhook_engine.alert_version()$$, '{monitor}'),
  ($$select meshhook_engine.outbox_trim()$$, '{}'),
  ($$select meshhook_engine.set_channel(gen_random_uuid(), null, 'c', 'slack', 't', 's', null, null)$$, '{}'),
  ($$select meshhook_engine.tick((select id from target), '1 s')$$, '{monitor}'),
  ($$select meshhook_engine.lead((select id from target), '1 s')$$, '{monitor}'),
  ($$select meshhook_engine.step_down((select id from target))$$, '{monitor}'),
  ($$select meshhook_engine.metric_days()$$, '{}'),
  ($$select meshhook_engine.drop_metric_days()$$, '{}'),
  ($$select meshhook_engine.set_retention(1, false)$$, '{}'),
  ($$select meshhook_engine.expire()$$, '{}'),
  ($$select meshhook_engine.drop_month('2001-01-01')$$, '{}'),
  ($$select meshhook_engine.mend_queued()$$, '{}'),
  ($$select meshhook_engine.mend_project((select id from target))$$, '{}'),
  ($$select meshhook_engine.archive_manifest(0)$$, '{monitor}'),
  ($$select meshhook_engine.resend(0, null)$$, '{}'),
  ($$select meshhook_engine.fold_histograms(null, 1)$$, '{}'),
  ($$select meshhook_engine.probe_histograms(now())$$, '{}'),
  ($$select count(*) from meshhook_engine.histogram_totals()$$, '{gateway}'),
  ($$select meshhook_engine.load_version((select id from target))$$, '{worker}'),
  ($$select meshhook_engine.claim(1, 1000)$$, '{worker}'),
  ($$select meshhook_engine.bury_foreign()$$, '{worker}'),
  ($$select meshhook_engine.endpoint_lookup('test-alpha', 'in')$$, '{gateway}');
create temp table a_run as select id from meshhook.runs where project_id = pg_temp.project('test-alpha');
create temp table a_token as
  select id from meshhook.service_tokens where project_id = pg_temp.project('test-alpha');
create temp table an_alert as select id from meshhook.alerts where project_id = pg_temp.project('test-alpha');
grant select on a_run, a_token, an_alert to public;
-- To outsiders a project does not exist.
select matches(pg_temp.attempt(actor, call), case when actor = any (may) then '^[0-9]+$'
    when actor in ('outsider', 'stranger', 'tokenless') then '^(42501|PT404)$'
    when actor = 'editor' or actor = 'viewer' then '^(42501|PT404)$' else '^42501$' end,
    format('%s: %s', call, actor))
  from calls, actors order by call, actor;

-- Leaving, and the last owner.
select is(pg_temp.attempt('owner', $$delete from meshhook.members where user_id = auth.uid()$$), '23514',
  'the last owner stays');
select is(pg_temp.attempt('service_role', $$update meshhook.members set role = 'viewer'
  where role = 'owner'$$), '23514', 'the last owner stays one, whoever asks');
select is(pg_temp.attempt('viewer', $$delete from meshhook.members$$), '1', 'a viewer removes only herself');
select is(pg_temp.attempt('admin', $$delete from meshhook.members where role = 'owner'$$), '0',
  'an admin can''t remove an owner');

select is(pg_temp.attempt('service_role', $$select meshhook.create_project((select id from target)::text, 'A trap')$$),
  '23514', 'no slug looks like an id');
select is(meshhook_engine.project_id(upper((select id from target)::text)), (select id from target),
  'a project is found by its id too');

select * from finish();
