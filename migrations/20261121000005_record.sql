-- What is written down stays: events, published versions and the audit log are immutable, for
-- their owner too. Months of events and logs are partitions. Two things remove: purge_project,
-- which leaves a tombstone, and retention (in a later file), which leaves an audit row.

-- Purging -----------------------------------------------------------------------------------

create table meshhook_engine.purges (
  project_id uuid primary key,
  slug text not null,
  xact xid8 not null default pg_current_xact_id(),
  at timestamptz not null default now(),
  by text not null default meshhook_engine.actor()
);
comment on table meshhook_engine.purges is
  'Tombstones. The immutability of a project''s record yields to the transaction named here, and to no other.';

create function meshhook_engine.refuse_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' and tg_nargs = 0 then
    if exists (select from meshhook_engine.purges
      where project_id = old.project_id and xact = pg_current_xact_id()) then
      return old;
    end if;
  end if;
  raise exception '% on %.% is refused: it is a record', tg_op, tg_table_schema, tg_table_name
    using errcode = 'insufficient_privilege',
      hint = 'A project is removed, with all that is recorded of it, by meshhook.purge_project(project).';
end
$$;
comment on function meshhook_engine.refuse_change() is
  'Trigger: refuse to change a record, whoever asks; let purge_project delete, unless called with an argument.';

create function meshhook_engine.refuse_project_delete() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (select from meshhook_engine.purges
    where project_id = old.id and xact = pg_current_xact_id()) then
    return old;
  end if;
  raise exception 'a project is removed by meshhook.purge_project(project)'
    using errcode = 'insufficient_privilege';
end
$$;
comment on function meshhook_engine.refuse_project_delete() is
  'Trigger: a project goes with all that is recorded of it or not at all.';

-- ENABLE ALWAYS: a session that says it replicates is stopped too. Row triggers of a
-- partitioned table are cloned to its partitions; TRUNCATE triggers are not, ensure_month
-- makes them.
do $$
declare
  t record;
begin
  for t in select * from (values
    ('meshhook.run_events', 'update or delete', ''),
    ('meshhook.versions', 'update or delete', ''),
    ('meshhook.audit_log', 'update or delete', '''always'''),
    ('meshhook_engine.purges', 'update or delete', '''always''')
  ) as t (name, events, argument) loop
    execute format('create trigger immutable before %s on %s for each row'
      ' execute function meshhook_engine.refuse_change(%s)', t.events, t.name, t.argument);
    execute format('create trigger immutable_truncate before truncate on %s for each statement'
      ' execute function meshhook_engine.refuse_change()', t.name);
    execute format('alter table %s enable always trigger immutable', t.name);
    execute format('alter table %s enable always trigger immutable_truncate', t.name);
  end loop;
end
$$;
create trigger immutable before delete on meshhook.projects
  for each row execute function meshhook_engine.refuse_project_delete();
alter table meshhook.projects enable always trigger immutable;
create trigger immutable_truncate before truncate on meshhook.projects
  for each statement execute function meshhook_engine.refuse_change();
alter table meshhook.projects enable always trigger immutable_truncate;

-- In the one lock order (docs/architecture.md). What is there is locked by id before it is deleted:
-- a delete takes rows as its plan finds them. A workflow only so far that none is deleted: who changes
-- a rule may ask whether it is there.
create function meshhook_engine.purge_project(p_project uuid) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  queue regclass;
  events bigint;
begin
  perform from meshhook.members where project_id = p_project order by user_id for update;
  perform from meshhook.projects where id = p_project for update;
  insert into meshhook_engine.purges (project_id, slug)
  select id, slug from meshhook.projects where id = p_project;
  if not found then
    raise exception 'no such project' using errcode = 'PT404';
  end if;
  perform from meshhook.workflows where project_id = p_project order by id for no key update;
  perform from meshhook.endpoints where project_id = p_project order by id for update;
  delete from meshhook_engine.deliveries where ctid = any (array(
    select ctid from meshhook_engine.deliveries where endpoint_id in (
      select id from meshhook.endpoints where project_id = p_project
      union all select id from meshhook.workflows where project_id = p_project)
    order by endpoint_id, dedupe_key for update));
  perform from meshhook.runs where project_id = p_project order by id for update;
  perform from pgmq.q_mh_work where message ->> 'p' = p_project::text order by msg_id for update;
  for queue in select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'pgmq' and c.relkind = 'r'
      and c.relname in ('q_mh_work', 'q_mh_dead', 'a_mh_work', 'a_mh_dead') loop
    execute format('delete from %s where message ->> ''p'' = $1', queue) using p_project::text;
  end loop;
  delete from meshhook_engine.timers where run_id in (
    select id from meshhook.runs where project_id = p_project);
  delete from meshhook_engine.backlog where project_id = p_project;
  delete from meshhook_engine.admission where project_id = p_project;
  perform from meshhook.channels where project_id = p_project order by id for update;
  perform from meshhook_engine.watched where project_id = p_project order by channel_id for update;
  delete from meshhook.steps where run_id in (
    select id from meshhook.runs where project_id = p_project);
  delete from meshhook.run_events where run_id in (
    select id from meshhook.runs where project_id = p_project);
  get diagnostics events = row_count;
  delete from meshhook.logs where channel_id in (
    select id from meshhook.runs where project_id = p_project
    union all select id from meshhook.channels where project_id = p_project);
  delete from meshhook.recent_logs where project_id = p_project;
  delete from meshhook_engine.log_ids where channel_id in (
    select id from meshhook.runs where project_id = p_project
    union all select id from meshhook.channels where project_id = p_project);
  delete from meshhook_engine.lasting_runs where project_id = p_project;
  delete from meshhook.runs where project_id = p_project;
  delete from meshhook.channels where project_id = p_project;
  delete from meshhook_engine.watched where project_id = p_project;
  delete from meshhook.webhook_bodies where project_id = p_project;
  delete from meshhook_engine.failed_runs where project_id = p_project;
  perform pg_advisory_xact_lock(hashtextextended('meshhook.counters', 0)); -- nobody folds them
  delete from meshhook_engine.counter_deltas where project_id = p_project;
  delete from meshhook.counters where project_id = p_project;
  delete from meshhook_engine.histogram_deltas where project_id = p_project;
  delete from meshhook_engine.histograms where project_id = p_project;
  perform meshhook_engine.purge_alerts(p_project);
  delete from meshhook.queue_metrics where project_id = p_project;
  delete from meshhook.queue_metrics_minute where project_id = p_project;
  delete from meshhook.projects where id = p_project;
  return events;
end
$$;
comment on function meshhook_engine.purge_project(uuid) is 'purge_project for whoever may execute it.';

create function meshhook_engine.purge_project_as_member(p_project uuid) returns bigint
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(p_project, 'owner');
  return meshhook_engine.purge_project(p_project);
end
$$;
comment on function meshhook_engine.purge_project_as_member(uuid) is 'purge_project for the project''s owners.';

create function meshhook.purge_project(project text) returns bigint
language plpgsql set search_path = '' as $$
declare
  p uuid := meshhook_engine.project_id($1);
begin
  if has_function_privilege('meshhook_engine.purge_project(uuid)', 'execute') then
    return meshhook_engine.purge_project(p);
  end if;
  return meshhook_engine.purge_project_as_member(p);
end
$$;
comment on function meshhook.purge_project(text) is
  'Remove a project and all that is recorded of it, for good; a tombstone and the audit log say who did. Returns how many events went. Owners may.';

-- Audit ---------------------------------------------------------------------------------------

-- Arguments: the columns whose content is not for the log; that they changed is.
create function meshhook_engine.audit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
  row_ jsonb := coalesce(is_now, was);
  detail jsonb;
begin
  if tg_op = 'UPDATE' then
    select jsonb_object_agg(n.key, case when n.key = any (tg_argv) then '"changed"'
      else jsonb_build_array(o.value, n.value) end)
    into detail
    from jsonb_each(is_now) n join jsonb_each(was) o using (key)
    where n.value is distinct from o.value and key <> 'updated_at';
    if detail is null then
      return null;
    end if;
  else
    detail := row_ - coalesce(tg_argv, '{}');
  end if;
  insert into meshhook.audit_log (project_id, actor, action, subject, detail)
  values (
    case tg_table_name when 'projects' then (row_ ->> 'id')::uuid
      when 'endpoint_secrets' then (select e.project_id from meshhook.endpoints e
        where e.id = (row_ ->> 'endpoint_id')::uuid)
      else (row_ ->> 'project_id')::uuid end,
    meshhook_engine.actor(), tg_table_name || '.' || lower(tg_op),
    coalesce(row_ ->> 'id', row_ ->> 'user_id', row_ ->> 'endpoint_id'), detail);
  return null;
end
$$;
comment on function meshhook_engine.audit() is
  'Trigger: who did what to an admin table, with old and new values but no definition and no secret.';

do $$
declare
  t record;
begin
  for t in select * from (values
    ('meshhook.projects', ''), ('meshhook.members', ''), ('meshhook.workflows', '''draft'''),
    ('meshhook.versions', '''definition'', ''plan'''), ('meshhook.endpoints', ''),
    ('meshhook_engine.endpoint_secrets', '''sealed''')
  ) as t (name, hidden) loop
    execute format('create trigger audit after insert or update or delete on %s for each row'
      ' execute function meshhook_engine.audit(%s)', t.name, t.hidden);
    execute format('alter table %s enable always trigger audit', t.name);
  end loop;
end
$$;

-- Partitions ----------------------------------------------------------------------------------

-- Made apart and attached, which lets others read and write the parent meanwhile.
create function meshhook_engine.ensure_month(p_month date) returns int
language plpgsql security definer set search_path = '' set client_min_messages = 'warning' as $$
declare
  month date := date_trunc('month', p_month)::date;
  starts timestamptz := month::timestamp at time zone 'UTC';
  ends timestamptz := (month + interval '1 month') at time zone 'UTC';
  kind text;
  part text;
  made int := 0;
begin
  foreach kind in array array['run_events', 'logs'] loop
    part := format('meshhook_engine.%I', kind || '_' || to_char(month, 'YYYY_MM'));
    continue when to_regclass(part) is not null;
    execute format('create table %s (like meshhook.%I including all)', part, kind);
    execute format('alter table %s enable row level security', part);
    execute format('revoke all on %s from public, anon, authenticated, service_role', part);
    execute format('comment on table %s is %L', part, kind || ' of ' || to_char(month, 'YYYY-MM'));
    if kind = 'run_events' then
      execute format('create trigger immutable_truncate before truncate on %s for each statement'
        ' execute function meshhook_engine.refuse_change()', part);
      execute format('alter table %s enable always trigger immutable_truncate', part);
      execute format('alter table meshhook.run_events attach partition %s for values from (%L) to (%L)',
        part, meshhook_engine.uuid7_floor(starts), meshhook_engine.uuid7_floor(ends));
    else
      execute format('alter table meshhook.logs attach partition %s for values from (%L) to (%L)',
        part, starts, ends);
    end if;
    made := made + 1;
  end loop;
  return made;
end
$$;
comment on function meshhook_engine.ensure_month(date) is
  'Make the partitions of a month (UTC) that are missing, protected as their parents are.';

create function meshhook_engine.ensure_partitions(months_ahead int default 3) returns int
language plpgsql security definer set search_path = '' as $$
declare
  months date[];
  made int := 0;
  month date;
begin
  if months_ahead not between 0 and 36 then
    raise exception 'months_ahead is from 0 to 36' using errcode = 'invalid_parameter_value';
  end if;
  months := array(select (date_trunc('month', now() at time zone 'UTC') + n * interval '1 month')::date
    from generate_series(-1, months_ahead) n);
  if not exists (select from unnest(months) m, unnest(array['run_events_', 'logs_']) k
    where to_regclass('meshhook_engine.' || k || to_char(m, 'YYYY_MM')) is null) then
    return 0;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('meshhook.partitions', 0));
  foreach month in array months loop
    made := made + meshhook_engine.ensure_month(month);
  end loop;
  return made;
end
$$;
comment on function meshhook_engine.ensure_partitions(int) is
  'Make the partitions of the last month, this one and so many ahead. Any worker calls it; what is there costs a look into the catalogue.';

select meshhook_engine.ensure_partitions();

-- Counters ------------------------------------------------------------------------------------

-- The floor is the snapshot taken before deltas are read: what it says is over, they hold. It
-- moves in the transaction that folds, and only when that left nothing. This transaction is
-- counted among the open ones: it may bring deltas after this.
create function meshhook_engine.compact_counters() returns bigint
language plpgsql security definer set search_path = '' set enable_seqscan = off as $$
declare
  all_projects constant uuid := '00000000-0000-0000-0000-000000000000';
  c_most constant int := 50000;
  v_seen pg_snapshot;
  v_floor meshhook_engine.fold_floor;
  v_more bigint;
  folded bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('meshhook.counters', 0)) then
    return 0; -- another does it
  end if;
  v_seen := pg_current_snapshot();
  select * into v_floor from meshhook_engine.fold_floor where singleton;
  if v_floor.upto > pg_snapshot_xmax(v_seen) then
    v_floor.upto := '0'; -- restored from another cluster
  end if;
  with gone as (
    delete from meshhook_engine.counter_deltas where ctid = any (array(
      select d.ctid from meshhook_engine.counter_deltas d
       where d.xid >= v_floor.upto or d.xid = any (v_floor.open) limit c_most))
    returning project_id, metric, delta
  ), sums as (
    select project_id, metric, sum(delta) as delta from gone group by 1, 2
  ), folding as (
    insert into meshhook.counters as c (project_id, metric, value)
    select x.project_id, s.metric, sum(s.delta)
      from sums s, lateral (select s.project_id union select all_projects) x
     group by 1, 2 order by 1, 2
    on conflict (project_id, metric) do update
    set value = c.value + excluded.value, updated_at = now()
  )
  select count(*) into folded from gone;
  v_more := meshhook_engine.fold_histograms(v_floor, c_most);
  if folded + v_more > 0 and greatest(folded, v_more) < c_most then
    update meshhook_engine.fold_floor set upto = pg_snapshot_xmax(v_seen),
      open = array(select pg_snapshot_xip(v_seen)) || pg_current_xact_id() where singleton;
  end if;
  return folded;
end
$$;
comment on function meshhook_engine.compact_counters() is
  'Fold up to 50,000 rows of deltas into the counters, of their projects and of all, and as many into the histograms; returns how many of the first. One at a time; any worker calls it.';
