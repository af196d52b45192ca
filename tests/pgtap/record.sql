-- What is recorded stays: events, versions, the audit log, tombstones; for their owner too.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table victims as
  select 'meshhook.run_events' as tab, 'payload = ''{}''' as change
  union all select 'meshhook.versions', 'plan = ''{}'''
  union all select 'meshhook.audit_log', 'actor = ''nobody'''
  union all select 'meshhook_engine.purges', 'by = ''nobody'''
  union all select inhrelid::regclass::text, 'payload = ''{}''' from pg_inherits
    where inhparent = 'meshhook.run_events'::regclass;
insert into meshhook_engine.purges (project_id, slug, xact) values (gen_random_uuid(), 'gone', '1');

select is(current_user, 'postgres', 'the owner asks');
select throws_ok(format('update %s set %s', tab, change), '42501', null, 'nobody changes ' || tab)
  from victims where tab !~ '_[0-9]{4}_' or tab ~ to_char(now() at time zone 'utc', 'YYYY_MM');
select throws_ok(format('delete from %s', tab), '42501', null, 'nobody deletes from ' || tab)
  from victims where tab !~ '_[0-9]{4}_' or tab ~ to_char(now() at time zone 'utc', 'YYYY_MM');
select throws_ok(format('truncate %s cascade', tab), '42501', null, 'nobody truncates ' || tab) from victims;
select throws_ok('merge into meshhook.run_events e using (select 1) x on true when matched then delete',
  '42501', null, 'nor by MERGE');
select throws_ok($$update meshhook.run_events set run_id = meshhook_engine.uuid7_floor(now() - interval '30 days')$$,
  '42501', null, 'nor by moving it to another partition');
select throws_ok('insert into meshhook.run_events select * from meshhook.run_events
  on conflict (run_id, seq) do update set type = excluded.type', '42501', null, 'nor by upsert');
select throws_ok('delete from meshhook.projects', '42501', null, 'a project is not simply deleted');
select throws_ok('truncate meshhook.projects cascade', '42501', null, 'nor truncated');
select throws_ok($$delete from meshhook.workflows where name = 'lead'$$, '42501', null,
  'a workflow with versions is not deleted');
select lives_ok($$delete from meshhook.workflows where name = 'sketch'$$, 'a mere draft is');
select is((select count(*) from meshhook.run_events where project_id in (pg_temp.project('test-alpha'),
  pg_temp.project('test-beta'))), 2::bigint, 'all events are there');

-- A tombstone of another transaction opens nothing.
insert into meshhook_engine.purges (project_id, slug, xact) values (pg_temp.project('test-beta'), 'x', '3');
select throws_ok('delete from meshhook.run_events', '42501', null, 'an old tombstone opens nothing');

-- Audit: by triggers, with who, and without what is not for the log.
select set_eq($$select action from meshhook.audit_log where project_id = pg_temp.project('test-alpha')$$,
  array['projects.insert', 'members.insert', 'workflows.insert', 'versions.insert', 'workflows.update',
    'endpoints.insert', 'endpoint_secrets.insert', 'service_tokens.insert', 'secrets.insert',
    'alert_rules.insert', 'silences.insert', 'alert_channels.insert',
    'workflows.delete'], 'what was done is in the audit log');
select is_empty($$select * from meshhook.audit_log where detail ?| array['sealed', 'draft', 'definition', 'plan']
  or detail::text like '%sealed test-alpha%'$$, 'no secret and no definition is');
select pg_temp.become('admin');
select meshhook.push_workflow('test-alpha', 'lead', '{"secret": "hush"}') is not null as pushed \gset
select meshhook.set_role('test-alpha', '00000000-0000-4000-8000-00000000000d', 'editor');
select meshhook.remove_member('test-alpha', '00000000-0000-4000-8000-00000000000c');
update meshhook.endpoints set enabled = false where project_id = pg_temp.project('test-alpha');
update meshhook.projects set name = name where slug = 'test-alpha';
select pg_temp.become_owner();
select results_eq($$select actor, action, subject, detail - 'created_at' - 'project_id' - 'user_id'
    from meshhook.audit_log where actor like 'user:%' and project_id = pg_temp.project('test-alpha') order by id$$,
  $$values ('user:00000000-0000-4000-8000-00000000000b', 'workflows.update',
      (select id::text from meshhook.workflows where name = 'lead' and project_id = pg_temp.project('test-alpha')),
      '{"draft": "changed"}'::jsonb),
    ('user:00000000-0000-4000-8000-00000000000b', 'members.update', '00000000-0000-4000-8000-00000000000d',
      '{"role": ["viewer", "editor"]}'),
    ('user:00000000-0000-4000-8000-00000000000b', 'members.delete', '00000000-0000-4000-8000-00000000000c',
      '{"role": "editor"}'),
    ('user:00000000-0000-4000-8000-00000000000b', 'projects.update', pg_temp.project('test-alpha')::text,
      '{"generation": [1, 2]}'),
    ('user:00000000-0000-4000-8000-00000000000b', 'endpoints.update',
      (select id::text from meshhook.endpoints where project_id = pg_temp.project('test-alpha')),
      '{"enabled": [true, false]}')$$,
  'each change with who made it, old and new values, and nothing where nothing changed');
select is((select generation from meshhook.projects where slug = 'test-alpha'), 2,
  'removing a member moves the generation');

-- purge_project: all of it goes, and only of it.
create function pg_temp.left_of(project uuid) returns table (tab text, n bigint) language plpgsql as $$
begin
  for tab in select c.oid::regclass from pg_class c join pg_attribute a on a.attrelid = c.oid
    where a.attname = 'project_id' and c.relkind in ('r', 'p') and not c.relispartition
      and c.relnamespace in ('meshhook'::regnamespace, 'meshhook_engine'::regnamespace)
      and c.relname not in ('audit_log', 'purges') order by 1 loop
    execute format('select count(*) from %s where project_id = $1', tab) into n using project;
    return next;
  end loop;
  select count(*) into n from pgmq.q_mh_work where message ->> 'p' = project::text;
  tab := 'queue';
  return next;
end
$$;
create temp table ids as select slug, id from meshhook.projects;
create temp table beta_before as select * from pg_temp.left_of(pg_temp.project('test-beta'));
select cmp_ok(count(*) filter (where n > 0), '>', 12::bigint, 'there is something to purge')
  from pg_temp.left_of(pg_temp.project('test-alpha'));
select is(meshhook.purge_project('test-alpha'), 1::bigint, 'purge_project says how many events went');
select is_empty($$select * from pg_temp.left_of((select id from ids where slug = 'test-alpha')) where n > 0$$,
  'nothing is left of it');
select is_empty($$select * from meshhook_engine.deliveries d where not exists (
  select from meshhook.workflows where id = d.endpoint_id)$$, 'nor of its dedupe keys');
select bag_eq($$select * from pg_temp.left_of((select id from ids where slug = 'test-beta'))$$,
  'select * from beta_before', 'and nothing is missing of another');
select is((select slug || ' ' || by from meshhook_engine.purges where slug = 'test-alpha'),
  'test-alpha role:postgres', 'a tombstone says who did it');
select isnt_empty($$select from meshhook.audit_log where action = 'projects.delete'$$,
  'so does the audit log, which stays');
select throws_ok($$delete from meshhook.run_events$$, '42501', null, 'the rest is as immutable as before');
select throws_ok($$select meshhook.purge_project('test-alpha')$$, 'PT404', null, 'it is gone');

select * from finish();
