-- What the programs ask of the schema before they work, and what `meshhook doctor` looks at.

create function meshhook_engine.schema_info()
returns table (version int, oldest_program int, pgmq text, server_version int, now timestamptz)
language sql stable security definer set search_path = ''
begin atomic
  select s.version, s.oldest_program,
    (select extversion from pg_extension where extname = 'pgmq'),
    current_setting('server_version_num')::int, clock_timestamp()
  from meshhook_engine.schema_version s;
end;
comment on function meshhook_engine.schema_info() is
  'The schema''s version and the oldest program that may work on it, for a program to refuse what it can''t serve.';

-- The checks, a function each: (ok, detail). ok null: can't be seen from here.

create function meshhook_engine.check_pgmq(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
declare
  version text := (select extversion from pg_extension where extname = 'pgmq');
begin
  ok := coalesce(string_to_array(version, '.')::int[] >= array[1, 4, 4], false)
    and to_regclass('pgmq.q_mh_work') is not null and to_regclass('pgmq.q_mh_dead') is not null;
  detail := format('pgmq %s, queues %s', coalesce(version, 'is not installed'),
    array(select q from unnest(array['q_mh_work', 'q_mh_dead']) q where to_regclass('pgmq.' || q) is not null));
end
$$;
comment on function meshhook_engine.check_pgmq() is 'doctor: pgmq is there, new enough, with our queues.';

create function meshhook_engine.check_roles(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select count(*) filter (where not granted) = 0,
    coalesce(string_agg(role || ' can''t ' || name, ', ') filter (where not granted), 'each may do its own')
  from (
    select role, name, coalesce(bool_and(has_function_privilege(r.oid, p.oid, 'execute')
      and has_schema_privilege(r.oid, p.pronamespace, 'usage') and r.rolcanlogin), false) as granted
    from (values ('meshhook_worker', 'claim'), ('meshhook_worker', 'commit'),
      ('meshhook_gateway', 'intake'), ('meshhook_gateway', 'endpoint_lookup'),
      ('meshhook_monitor', 'schema_info')) as wanted (role, name)
    left join pg_roles r on r.rolname = role
    left join pg_proc p on p.proname = name and p.pronamespace = to_regnamespace('meshhook_engine')
    group by role, name
  ) t;
end;
comment on function meshhook_engine.check_roles() is 'doctor: the login roles exist and may execute their functions.';

create function meshhook_engine.check_rights(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select count(*) = 0, coalesce(string_agg(problem, ', '), 'every table under row-level security, no function open to all')
  from (
    select c.oid::regclass || ' has no row-level security' as problem
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('meshhook', 'meshhook_engine') and c.relkind in ('r', 'p') and not c.relrowsecurity
    union all
    select p.oid::regprocedure || ' may be executed by all'
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace,
      aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where n.nspname in ('meshhook', 'meshhook_engine') and a.grantee = 0
    union all
    select c.oid::regclass || ' is not protected from change'
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('meshhook', 'meshhook_engine')
      and (c.relname in ('run_events', 'versions', 'audit_log') or c.relname like 'run\_events\_%')
      and c.relkind in ('r', 'p')
      and 2 > (select count(*) from pg_trigger t where t.tgrelid = c.oid and t.tgenabled = 'A'
        and t.tgname in ('immutable', 'immutable_truncate'))
  ) t;
end;
comment on function meshhook_engine.check_rights() is
  'doctor: row-level security everywhere, nothing open to all, records protected.';

create function meshhook_engine.check_partitions(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select bool_and(ahead >= 2), string_agg(format('%s %s', kind, ahead), ', ') || ' months ahead'
  from (
    select kind, count(c.oid) as ahead
    from (values ('run_events'), ('logs')) k (kind)
    left join pg_class c on c.relnamespace = to_regnamespace('meshhook_engine') and c.relispartition
      and c.relkind = 'r' and left(c.relname, -8) = kind
      and right(c.relname, 7) > to_char(now() at time zone 'UTC', 'YYYY_MM')
    group by kind
  ) t;
end;
comment on function meshhook_engine.check_partitions() is
  'doctor: at least two months of partitions exist beyond this one.';

create function meshhook_engine.check_exposure(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
declare
  setting text := (
    select substr(s, 18) from pg_db_role_setting d, unnest(d.setconfig) s
    where d.setrole in (0, coalesce(to_regrole('authenticator'), 0))
      and d.setdatabase in (0, (select oid from pg_database where datname = current_database()))
      and s like 'pgrst.db_schemas=%' order by d.setdatabase desc, d.setrole desc limit 1);
begin
  ok := 'meshhook' = any (array(select btrim(s) from regexp_split_to_table(setting, ',') s));
  if setting is null then
    ok := null;
    detail := 'the API''s schemas are not set in the database: they can''t be seen from here';
  else
    detail := 'the API exposes ' || setting;
  end if;
end
$$;
comment on function meshhook_engine.check_exposure() is
  'doctor: the API exposes schema meshhook, as far as the database knows.';

create function meshhook_engine.check_connections(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select ours + others <= room, format(
    '%s processes may use %s connections, others use %s, %s are allowed', n, ours, others, room)
  from (
    select count(*) as n, 2 * count(*) as ours from meshhook.workers
    where seen_at > now() - interval '2 minutes'
  ) w, (
    select count(*) as others from pg_stat_activity
    where backend_type = 'client backend' and usename not like 'meshhook\_%'
  ) a, (
    select current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0) as room
  ) m;
end;
comment on function meshhook_engine.check_connections() is
  'doctor: the connections of all processes, two each, fit beside the others''.';

create function meshhook_engine.check_projection(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select count(*) filter (where not same) = 0, format('%s of the last %s runs differ from their events%s',
    count(*) filter (where not same), count(*),
    coalesce(': ' || string_agg(id::text, ', ') filter (where not same), ''))
  from (
    select r.id, e.last_seq = r.last_seq and e.events = r.last_seq
      and r.status = case e.last_type when 'run.succeeded' then 'succeeded' when 'run.failed' then 'failed'
        when 'run.cancelled' then 'cancelled' else 'running' end
      and (r.status = 'running') = (r.ended_at is null)
      and not exists (
        select from meshhook.steps s where s.run_id = r.id and s.seq is not null and not exists (
          select from meshhook.run_events x where x.run_id = s.run_id and x.seq = s.seq
            and s.step in (x.payload ->> 'step', x.payload ->> 'trigger'))) as same
    from (select * from meshhook.runs order by id desc limit 100) r,
      lateral (select count(*) as events, max(seq) as last_seq, (array_agg(type order by seq desc))[1] as last_type
        from meshhook.run_events where run_id = r.id) e
  ) t;
end;
comment on function meshhook_engine.check_projection() is
  'doctor: a sample of runs and steps says what their events say.';

create function meshhook_engine.check_admission(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
begin
  select count(*) = 0, coalesce(string_agg(format('project %s: %s counted, %s queued',
    project_id, counted, queued), '; '), 'counted as queued') into ok, detail
  from (select project_id, sum(queued) as counted from meshhook_engine.admission group by 1) a
  full join (select (message ->> 'p')::uuid as project_id, count(*) as queued
    from pgmq.q_mh_work group by 1) q using (project_id)
  where coalesce(counted, 0) <> coalesce(queued, 0);
end
$$;
comment on function meshhook_engine.check_admission() is
  'doctor: the admission counters say what is in the queue.';

create function meshhook_engine.check_upkeep(out ok boolean, out detail text)
language sql stable security definer set search_path = ''
begin atomic
  select late = 0 and deltas < 1000000, format('%s timers overdue by a minute, %s counter rows unfolded', late, deltas)
  from (select count(*) as late from (select from meshhook_engine.timers
    where due_at < now() - interval '1 minute' limit 1000) t) l,
    (select count(*) as deltas from (select from meshhook_engine.counter_deltas limit 1000000) t) d;
end;
comment on function meshhook_engine.check_upkeep() is
  'doctor: workers fire timers and fold counters.';

-- Hosted, Realtime makes each day's partition when a client connects, not before.
create function meshhook_engine.check_live(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
declare
  part text := 'messages_' || to_char(now() at time zone 'UTC', 'YYYY_MM_DD');
  failed bigint := (select coalesce(sum(value), 0) from meshhook.counters
    where metric = 'broadcast.failed' and project_id <> '00000000-0000-0000-0000-000000000000');
begin
  ok := exists (select from pg_policy where polrelid = to_regclass('realtime.messages')
      and polname = 'meshhook_members_listen')
    and coalesce(has_table_privilege(to_regclass('realtime.messages'), 'insert'), false);
  detail := format('members %s, %s broadcasts failed so far', case when ok then 'may listen' else 'can''t listen' end, failed);
  if ok and to_regclass('realtime.' || part) is null then
    ok := null;
    detail := detail || '; Realtime has no partition for today yet';
  end if;
end
$$;
comment on function meshhook_engine.check_live() is
  'doctor: lines can be broadcast to Realtime, and members may listen.';

create function meshhook_engine.check_maintenance(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
declare
  late text := (select string_agg(c.name, ', ' order by c.name) from meshhook_engine.chores c
    where c.done_at < now() - interval '3 hours');
begin
  select false, string_agg(c.name || ': ' || c.problem, '; ' order by c.name) into ok, detail
    from meshhook_engine.chores c where c.problem is not null;
  if detail is not null then
    return;
  end if;
  ok := late is null;
  detail := coalesce('not for three hours: ' || late, 'the monitor''s chores are done');
  if not exists (select from meshhook_engine.leader l where l.until > now()) then
    ok := null;
    detail := 'no monitor leads, so nobody does them';
  end if;
end
$$;
comment on function meshhook_engine.check_maintenance() is 'doctor: the monitor that leads does its chores.';

create function meshhook_engine.check_retention(out ok boolean, out detail text)
language plpgsql stable security definer set search_path = '' as $$
declare
  r record;
  month date := (select min(m) from meshhook_engine.expired_months() m);
  run uuid;
begin
  select x.* into r from meshhook_engine.retention x;
  ok := true;
  detail := coalesce(r.months || ' months are kept', 'all is kept');
  if month is null then
    return;
  end if;
  select false, string_agg(a.name || ': ' || a.problem, '; ' order by a.name) into ok, detail
    from meshhook_engine.archives a where a.dropped_at is null and a.problem is not null;
  if detail is not null then
    return;
  end if;
  select x.id into run from meshhook.runs x where x.status = 'running' and x.id = r.ended_before
    and not meshhook_engine.month_ended(month);
  ok := case when run is null then not r.archive
    or exists (select from meshhook_engine.archives a where a.dropped_at is null) end;
  detail := format('%s is over its time and %s', to_char(month, 'YYYY-MM'), case
    when run is not null then 'stays: run ' || run || ' has not ended'
    when not ok then 'stays: no monitor has an archive for it'
    when r.archive then 'is being archived' else 'is about to be dropped' end);
end
$$;
comment on function meshhook_engine.check_retention() is
  'doctor: months that are over their time are archived and dropped.';

create function meshhook_engine.doctor()
returns table (name text, ok boolean, detail text, mend text)
language sql stable security definer set search_path = ''
begin atomic
  select 'schema', true, format('version %s, for programs from %s', i.version, i.oldest_program),
    'supabase db push' from meshhook_engine.schema_info() i
  union all select 'pgmq', c.*, 'Database > Extensions: pgmq 1.4.4 or newer; then supabase db push'
    from meshhook_engine.check_pgmq() c
  union all select 'roles', c.*, 'supabase db push; then alter role ... login password ''...'' for each'
    from meshhook_engine.check_roles() c
  union all select 'rights', c.*, 'undo what was changed by hand: the migrations grant and protect everything once'
    from meshhook_engine.check_rights() c
  union all select 'partitions', c.*, 'select meshhook_engine.ensure_partitions(); a running worker does it'
    from meshhook_engine.check_partitions() c
  union all select 'exposure', c.*, 'hosted: Project Settings > Data API > Exposed schemas: add meshhook; '
    'else: supabase/config.toml, [api] schemas, or PGRST_DB_SCHEMAS'
    from meshhook_engine.check_exposure() c
  union all select 'connections', c.*, 'fewer processes, a larger database, or the transaction pooler (port 6543)'
    from meshhook_engine.check_connections() c
  union all select 'projection', c.*, 'meshhook replay RUN shows where; report it as a bug'
    from meshhook_engine.check_projection() c
  union all select 'admission', c.*, 'ask again: it differs for a moment under load; if it stays, report it as a bug'
    from meshhook_engine.check_admission() c
  union all select 'upkeep', c.*, 'start a worker'
    from meshhook_engine.check_upkeep() c
  union all select 'maintenance', c.*, 'start a monitor: meshhook monitor; what fails is said here and in its log'
    from meshhook_engine.check_maintenance() c
  union all select 'retention', c.*, 'mend what it says, give the monitors MESHHOOK_ARCHIVE, or change it: meshhook retention'
    from meshhook_engine.check_retention() c
  union all select 'live', c.*, 'supabase db push; the day''s partition is made when a client connects to Realtime'
    from meshhook_engine.check_live() c;
end;
comment on function meshhook_engine.doctor() is
  'What can be checked from within the database; mend says how. ok null: can''t be seen from here.';
