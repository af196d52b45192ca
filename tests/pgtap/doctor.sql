-- Each check of doctor() is sound on a sound schema, and says so when it is not.
\i tests/pgtap/fixture.psql
select no_plan();

create function pg_temp.says(check_ text) returns text language sql as
  $$select case when ok then 'ok' when not ok then 'not ok: ' || detail else 'unknown' end
    from meshhook_engine.doctor() where name = check_$$;
-- Do it, ask, undo it.
create function pg_temp.after(statement text, check_ text) returns text language plpgsql as $$
declare
  said text;
begin
  execute statement;
  said := pg_temp.says(check_);
  raise exception '%', said using errcode = 'MHTRY';
exception when sqlstate 'MHTRY' then return sqlerrm;
end
$$;
delete from meshhook_engine.timers;
select meshhook_engine.ensure_partitions() \g /dev/null

select results_eq('select version, oldest_program <= version, pgmq is not null, server_version >= 170000
  from meshhook_engine.schema_info()', 'select version, true, true, true from meshhook_engine.schema_version',
  'schema_info says what programs ask');
select is_empty($$select name, detail from meshhook_engine.doctor() where not ok and name <> 'connections'$$, 'all is well');
select is_empty('select name from meshhook_engine.doctor() where coalesce(mend, '''') = '''' or coalesce(detail, '''') = ''''',
  'each check says what it saw and how to mend it');

select matches(pg_temp.after('alter role meshhook_worker nologin', 'roles'), '^not ok: meshhook_worker', 'a role that can''t log in');
select matches(pg_temp.after('revoke all on all functions in schema meshhook_engine from meshhook_gateway', 'roles'),
  '^not ok: meshhook_gateway', 'a function that was taken away');
select matches(pg_temp.after('alter table meshhook.runs disable row level security', 'rights'),
  '^not ok: .*runs', 'a table in the open');
select matches(pg_temp.after('grant execute on function meshhook_engine.doctor() to public', 'rights'),
  '^not ok: .*doctor', 'a function in the open');
select matches(pg_temp.after('alter table meshhook.run_events disable trigger immutable', 'rights'),
  '^not ok: .*run_events', 'events that could be changed');
select matches(pg_temp.after(format('alter table meshhook_engine.run_events_%s enable trigger immutable_truncate',
  to_char(now() at time zone 'UTC', 'YYYY_MM')), 'rights'), '^not ok: .*run_events', 'a partition that a replica could empty');
select matches(pg_temp.after(format('drop table meshhook_engine.logs_%s, meshhook_engine.logs_%s',
  to_char(now() at time zone 'UTC' + interval '2 months', 'YYYY_MM'),
  to_char(now() at time zone 'UTC' + interval '3 months', 'YYYY_MM')), 'partitions'), '^not ok: ', 'months that are missing');
select matches(pg_temp.after('update meshhook.runs set last_seq = last_seq + 1', 'projection'),
  '^not ok: [1-9][0-9]* of', 'a run that is ahead of its events');
select matches(pg_temp.after('update meshhook.runs set status = ''succeeded'', ended_at = now()', 'projection'),
  '^not ok: [1-9][0-9]* of', 'a run that ended without an event');
select matches(pg_temp.after('update meshhook.steps set step = ''x'', seq = 1', 'projection'),
  '^not ok: [1-9][0-9]* of', 'a step whose output is another''s');
select matches(pg_temp.after('update meshhook_engine.admission set queued = queued + 1', 'admission'),
  '^not ok: ', 'a count that is off');
select matches(pg_temp.after($$insert into meshhook.workers (id, kind, host, pid, version)
  select gen_random_uuid(), 'worker', 'h', 1, '1' from generate_series(1, current_setting('max_connections')::int)$$, 'connections'),
  '^not ok: ', 'too many processes');
select matches(pg_temp.after($$insert into meshhook_engine.timers (run_id, kind, step, attempt, due_at, project_id, message)
  values (gen_random_uuid(), 'delay', 's', 1, now() - interval '1 hour', gen_random_uuid(), '{}')$$, 'upkeep'),
  '^not ok: [1-9][0-9]* timers', 'a timer that nobody fires');

select matches(pg_temp.after('drop policy meshhook_members_listen on realtime.messages', 'live'),
  '^not ok: members can''t listen', 'a policy that is gone');

select ok(ok is distinct from false, 'the API''s schemas are not set wrong') from meshhook_engine.doctor() where name = 'exposure';

select * from finish();
