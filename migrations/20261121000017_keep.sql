-- Keeping: what the leader does beside measuring, in small steps; for how long the record is kept,
-- and the archive that it goes to before; counters held against what they count.
--
-- Nothing of the record is dropped unless retention says for how many months it is kept, and
-- nothing unarchived unless retention says that too. A month goes as a whole, the oldest first,
-- when all of its runs have ended:
--
--     archived: runs, run_events, logs -> partitions dropped -> rows of its runs forgotten

create table meshhook_engine.retention (
  one boolean primary key default true check (one),
  months int check (months between 1 and 1200),
  archive boolean not null default true,
  settled uuid,
  checked uuid,
  ended_before uuid,
  forget_before uuid,
  forgotten_blocks bigint not null default 0
);
insert into meshhook_engine.retention default values;
comment on table meshhook_engine.retention is 'One row: for how long the record is kept. meshhook retention changes it.';
comment on column meshhook_engine.retention.months is 'So many whole months are kept beside this one; null: all.';
comment on column meshhook_engine.retention.archive is 'A month is dropped only when it is archived.';
comment on column meshhook_engine.retention.settled is 'The last run that was gone through: of those up to it, lasting_runs has all that go on.';
comment on column meshhook_engine.retention.checked is 'The last of lasting_runs that was looked at again; null: begin at the front.';
comment on column meshhook_engine.retention.ended_before is 'Every run below this id has ended.';
comment on column meshhook_engine.retention.forget_before is 'Rows of runs below this id are on their way out: their month was dropped.';
comment on column meshhook_engine.retention.forgotten_blocks is 'So many blocks of deliveries were gone through for that.';

-- What the chores came to.
create table meshhook_engine.chores (
  name text primary key,
  done_at timestamptz,
  failed_at timestamptz,
  problem text,
  cursor uuid
);
comment on table meshhook_engine.chores is 'The leader''s chores: when each was last done, and why it fails, if it does.';
create table meshhook_engine.kept (
  metric text not null,
  label text not null default '',
  label_value text not null default '',
  value bigint not null default 0,
  primary key (metric, label_value)
);
comment on table meshhook_engine.kept is 'Counts of what the chores did, as metrics.';
insert into meshhook_engine.kept (metric, label, label_value) values
  ('dead_workers_cleared_total', '', ''), ('archived_bytes_total', '', ''), ('archived_rows_total', '', ''),
  ('partitions_dropped_total', '', ''), ('messages_trimmed_total', '', ''),
  ('reconciled_total', 'counter', 'queued'), ('reconciled_total', 'counter', 'backlog'),
  ('reconciled_total', 'counter', 'running');

create function meshhook_engine.count_kept(p_metric text, p_n bigint, p_label_value text default '')
returns void language sql set search_path = '' as $$
  update meshhook_engine.kept set value = value + p_n
   where metric = p_metric and label_value = p_label_value and p_n <> 0
$$;
comment on function meshhook_engine.count_kept(text, bigint, text) is 'Adds to a count of what the chores did.';

-- Retention ----------------------------------------------------------------------------------

create function meshhook_engine.set_retention(p_months int, p_archive boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  update meshhook_engine.retention r set months = nullif(coalesce(p_months, r.months), 0),
         archive = coalesce(p_archive, r.archive);
  insert into meshhook.audit_log (actor, action, subject, detail)
    select meshhook_engine.actor(), 'retention.set', 'installation',
           jsonb_build_object('months', r.months, 'archive', r.archive) from meshhook_engine.retention r;
end $$;
comment on function meshhook_engine.set_retention(int, boolean) is
  'For how many months the record is kept (0: for ever), and whether it must be archived before it is dropped; null: as it was.';

create function meshhook_engine.expired_months() returns setof date
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select distinct m.month from (
        select to_date(right(c.relname, 7), 'YYYY_MM') as month
          from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
         where i.inhparent in ('meshhook.run_events'::regclass, 'meshhook.logs'::regclass)
        offset 0) m, -- else other tables' names may be taken for months before they are left out
      meshhook_engine.retention r
     where m.month < date_trunc('month', now() at time zone 'UTC') - r.months * interval '1 month'
     order by 1;
end $$;
comment on function meshhook_engine.expired_months() is
  'Months (UTC) with partitions that are over their time, the oldest first; none while everything is kept.';

-- What has ended has ended for good, so each run is gone through once, in the order of their ids, and
-- those that went on then are looked at again.
create table meshhook_engine.lasting_runs (
  run_id uuid primary key,
  project_id uuid not null
) with (autovacuum_vacuum_scale_factor = 0.02);
create index lasting_runs_project on meshhook_engine.lasting_runs (project_id);
comment on table meshhook_engine.lasting_runs is 'Of the runs that were gone through (retention.settled), those that went on; they may have ended since.';

-- A run's id is made in its transaction: below the beginning of the oldest one that writes, none
-- will be seen that isn't now. This is asked before the statement that looks.
create function meshhook_engine.settled_edge() returns uuid
language sql volatile set search_path = '' as $$
  select meshhook_engine.uuid7_floor(case when pg_has_role('pg_read_all_stats', 'usage')
      and not exists (select from pg_catalog.pg_prepared_xacts)
    then least(clock_timestamp(), (select min(a.xact_start) from pg_catalog.pg_stat_activity a
           where a.backend_xid is not null and a.pid <> pg_backend_pid())) - interval '10 seconds'
    else now() - interval '1 day' end)
$$;
comment on function meshhook_engine.settled_edge() is 'No run with an id below this one will appear any more.';

create function meshhook_engine.settle_runs(p_limit int, out done bigint, out more boolean)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_custom_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  c_first constant uuid := '00000000-0000-0000-0000-000000000000';
  v_edge uuid := meshhook_engine.settled_edge();
  v_r meshhook_engine.retention;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook.mend', 0));
  select * into v_r from meshhook_engine.retention for no key update;
  with x as materialized (
         select r.id, r.project_id, r.status from meshhook.runs r
          where r.id > coalesce(v_r.settled, c_first) and r.id < v_edge order by r.id limit p_limit),
       lasting as (insert into meshhook_engine.lasting_runs (run_id, project_id)
         select x.id, x.project_id from x where x.status = 'running' on conflict do nothing)
  select count(*), case when count(*) = p_limit then max(x.id::text)::uuid
           else greatest(v_edge, v_r.settled) end into done, v_r.settled from x;
  more := done = p_limit;
  if not more then
    with x as materialized (
           select l.run_id from meshhook_engine.lasting_runs l where l.run_id > coalesce(v_r.checked, c_first)
            order by l.run_id limit p_limit),
         ended as (delete from meshhook_engine.lasting_runs where ctid = any (array(
           select l.ctid from x join meshhook_engine.lasting_runs l on l.run_id = x.run_id
            where not exists (select from meshhook.runs r where r.id = x.run_id and r.status = 'running')
              for update of l skip locked)))
    select case when count(*) = p_limit then max(x.run_id::text)::uuid end into v_r.checked from x;
  end if;
  update meshhook_engine.retention set settled = v_r.settled, checked = v_r.checked, ended_before = coalesce(
    (select l.run_id from meshhook_engine.lasting_runs l order by l.run_id limit 1), v_r.settled);
end $$;
comment on function meshhook_engine.settle_runs(int) is
  'A step of going through the runs: up to p_limit new ones, or, where that is all of them, as many of those that went on; how many of the first.';

create function meshhook_engine.month_ended(p_month date) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(r.ended_before >= meshhook_engine.uuid7_floor((p_month + interval '1 month') at time zone 'UTC'), false)
    from meshhook_engine.retention r
$$;
comment on function meshhook_engine.month_ended(date) is 'Whether every run of the month, and of those before it, is known to have ended.';

create function meshhook_engine.month_tables(p_month date) returns setof text
language sql stable security definer set search_path = '' as $$
  select t.kind || to_char(p_month, '_YYYY_MM') from unnest(array['runs', 'run_events', 'logs']) t(kind)
   where t.kind = 'runs' or to_regclass('meshhook_engine.' || t.kind || to_char(p_month, '_YYYY_MM')) is not null
$$;
comment on function meshhook_engine.month_tables(date) is
  'What there is of a month: its partitions, and the rows of its runs, which are in no partition.';

-- Archives -----------------------------------------------------------------------------------

-- The leader reads a month in slices, none of which holds a snapshot for long, makes parts of them,
-- puts each where archives go, reads it back, and records it here. A part begins where the last one
-- that was recorded ends: whatever dies, what is recorded is complete and nothing is in it twice.
-- What is in the folder and not in the manifest is no part of the archive.
create table meshhook_engine.archives (
  id bigint generated always as identity primary key,
  name text not null,
  dir text not null,
  month date not null,
  place text not null,
  parts int not null default 0,
  rows bigint not null default 0,
  bytes bigint not null default 0,
  cursor text,
  sha256 text,
  begun_at timestamptz not null default now(),
  done_at timestamptz,
  dropped_at timestamptz,
  failed_at timestamptz,
  problem text
);
create unique index archives_open on meshhook_engine.archives (name) where dropped_at is null;
comment on table meshhook_engine.archives is 'What was archived of which month, and where; sha256 is the manifest''s, which names the parts with theirs.';
comment on column meshhook_engine.archives.cursor is 'The last row that is in a part: its place in the partition (ctid), or the run''s id.';
create table meshhook_engine.archive_parts (
  archive_id bigint not null references meshhook_engine.archives on delete cascade,
  n int not null,
  file text not null,
  rows bigint not null,
  bytes bigint not null,
  sha256 text not null,
  primary key (archive_id, n)
);
comment on table meshhook_engine.archive_parts is 'The parts of archives: each a file of JSON lines, packed by gzip.';

create function meshhook_engine.archive_next(p_fence bigint, p_place text)
returns table (id bigint, name text, dir text, place text, cursor text, parts int, files text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_month date := (select min(m) from meshhook_engine.expired_months() m);
  v_name text;
  v_a meshhook_engine.archives;
begin
  perform meshhook_engine.check_fence(p_fence);
  if v_month is null or not (select r.archive from meshhook_engine.retention r)
    or not meshhook_engine.month_ended(v_month) then
    return;
  end if;
  for v_name in select * from meshhook_engine.month_tables(v_month) loop
    insert into meshhook_engine.archives (name, dir, month, place)
      select v_name, v_name || coalesce('-' || nullif(count(*), 0) + 1, ''), v_month, p_place
        from meshhook_engine.archives x where x.name = v_name and x.dropped_at is not null
    on conflict (name) where dropped_at is null do nothing;
    select * into v_a from meshhook_engine.archives x where x.name = v_name and x.dropped_at is null;
    continue when v_a.done_at is not null;
    return query select v_a.id, v_a.name, v_a.dir, v_a.place, v_a.cursor, v_a.parts,
      (select coalesce(string_agg(p.file || ' ' || p.bytes, E'\n' order by p.n), '')
         from meshhook_engine.archive_parts p where p.archive_id = v_a.id);
    return;
  end loop;
end $$;
comment on function meshhook_engine.archive_next(bigint, text) is
  'What is to be archived next, and after which row to go on; files: those of its parts so far, with their bytes. No row: nothing is.';

create function meshhook_engine.archive_anew(p_fence bigint, p_id bigint, p_place text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  delete from meshhook_engine.archive_parts where archive_id = p_id;
  update meshhook_engine.archives set place = p_place, parts = 0, rows = 0, bytes = 0, cursor = null,
         sha256 = null, begun_at = now()
   where id = p_id and done_at is null;
end $$;
comment on function meshhook_engine.archive_anew(bigint, bigint, text) is
  'Begins an archive that is not done again from the front: its parts are not where they should be.';

-- In the order of the heap, which nobody changes any more, or of the runs' ids. A scan of the whole
-- table may begin anywhere, so it must not be one.
create function meshhook_engine.archive_slice(p_fence bigint, p_name text, p_after text, p_bytes int, p_ms int)
returns table (upto text, line text)
language plpgsql security definer set search_path = '' set timezone = 'UTC' set enable_seqscan = off
set synchronize_seqscans = off as $$
declare
  v_until timestamptz := clock_timestamp() + p_ms * interval '1 millisecond';
  v_month timestamp := to_date(right(p_name, 7), 'YYYY_MM');
  v_size bigint := 0;
  v_rows refcursor;
begin
  perform meshhook_engine.check_fence(p_fence);
  if p_name like 'runs%' then
    open v_rows for select r.id::text, row_to_json(r)::text from meshhook.runs r
      where r.id > coalesce(p_after::uuid, meshhook_engine.uuid7_floor(v_month at time zone 'UTC'))
        and r.id < meshhook_engine.uuid7_floor((v_month + interval '1 month') at time zone 'UTC')
      order by r.id;
  else
    open v_rows for execute format('select t.ctid::text, row_to_json(t)::text from meshhook_engine.%I t'
      ' where t.ctid > $1', p_name) using coalesce(p_after, '(0,0)')::tid;
  end if;
  loop
    fetch v_rows into upto, line;
    exit when not found;
    return next;
    v_size := v_size + length(line);
    exit when v_size >= p_bytes or clock_timestamp() > v_until;
  end loop;
  close v_rows;
end $$;
comment on function meshhook_engine.archive_slice(bigint, text, text, int, int) is
  'The next rows of a table of a month, as JSON, until they are so many bytes or took so long. None: it was the end.';

-- The rows in a range, or those after it.
create function meshhook_engine.archive_count(p_name text, p_after text, p_upto text) returns bigint
language plpgsql set search_path = '' set enable_seqscan = off as $$
declare
  v_month timestamp := to_date(right(p_name, 7), 'YYYY_MM');
  v_n bigint;
begin
  if p_name like 'runs%' then
    return (select count(*) from meshhook.runs r
      where r.id > coalesce(p_after::uuid, meshhook_engine.uuid7_floor(v_month at time zone 'UTC'))
        and r.id <= coalesce(p_upto::uuid,
          meshhook_engine.uuid7_floor((v_month + interval '1 month') at time zone 'UTC')));
  end if;
  execute format('select count(*) from meshhook_engine.%I t where t.ctid > $1 and t.ctid <= $2', p_name)
    into v_n using coalesce(p_after, '(0,0)')::tid, coalesce(p_upto, '(4294967295,65535)')::tid;
  return v_n;
end $$;
comment on function meshhook_engine.archive_count(text, text, text) is
  'How many rows a table of a month has after a place, up to another; null: from the front, to the end.';

create function meshhook_engine.archive_part(p_fence bigint, p_id bigint, p_file text, p_upto text,
  p_rows bigint, p_bytes bigint, p_sha256 text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_a meshhook_engine.archives;
  v_n bigint;
begin
  perform meshhook_engine.check_fence(p_fence);
  select * into strict v_a from meshhook_engine.archives a where a.id = p_id and a.done_at is null for update;
  v_n := meshhook_engine.archive_count(v_a.name, v_a.cursor, p_upto);
  if v_n <> p_rows then
    raise exception 'part % has % rows, the table has %', v_a.parts + 1, p_rows, v_n using errcode = 'MH003';
  end if;
  insert into meshhook_engine.archive_parts (archive_id, n, file, rows, bytes, sha256)
    values (p_id, v_a.parts + 1, p_file, p_rows, p_bytes, p_sha256);
  update meshhook_engine.archives a set parts = a.parts + 1, rows = a.rows + p_rows, bytes = a.bytes + p_bytes,
         cursor = p_upto, problem = null
   where a.id = p_id;
end $$;
comment on function meshhook_engine.archive_part(bigint, bigint, text, text, bigint, bigint, text) is
  'Records a part that is where it should be, with the rows after the last part''s up to p_upto. MH003: the table has not so many there.';

create function meshhook_engine.archive_manifest(p_id bigint) returns text
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('format', 'meshhook-archive-1', 'name', a.name, 'table', left(a.name, -8),
           'month', to_char(a.month, 'YYYY-MM'), 'rows', a.rows, 'bytes', a.bytes,
           'parts', (select coalesce(jsonb_agg(jsonb_build_object('file', p.file, 'rows', p.rows,
                'bytes', p.bytes, 'sha256', p.sha256) order by p.n), '[]')
              from meshhook_engine.archive_parts p where p.archive_id = a.id))::text || E'\n'
    from meshhook_engine.archives a where a.id = p_id
$$;
comment on function meshhook_engine.archive_manifest(bigint) is 'What an archive consists of: its last file, which makes it one.';

create function meshhook_engine.archive_done(p_fence bigint, p_id bigint, p_sha256 text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_a meshhook_engine.archives;
begin
  perform meshhook_engine.check_fence(p_fence);
  select * into strict v_a from meshhook_engine.archives a where a.id = p_id and a.done_at is null for update;
  if meshhook_engine.archive_count(v_a.name, v_a.cursor, null) > 0 then
    raise exception 'it has rows that are in no part' using errcode = 'MH003';
  end if;
  update meshhook_engine.archives a set done_at = now(), sha256 = p_sha256, problem = null where a.id = p_id;
  perform meshhook_engine.count_kept('archived_bytes_total', v_a.bytes);
  perform meshhook_engine.count_kept('archived_rows_total', v_a.rows);
end $$;
comment on function meshhook_engine.archive_done(bigint, bigint, text) is
  'An archive is complete: its manifest, with this SHA-256, is where it should be. MH003: there are rows behind its last part.';

create function meshhook_engine.archive_failed(p_fence bigint, p_id bigint, p_problem text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  update meshhook_engine.archives set failed_at = now(), problem = left(p_problem, 300)
   where id = p_id and done_at is null;
end $$;
comment on function meshhook_engine.archive_failed(bigint, bigint, text) is 'Why an archive does not go on; the next part that is recorded takes it back.';

-- Dropping -----------------------------------------------------------------------------------

-- Nobody writes between the look behind the archive's last row and the drop. The parents' locks come
-- before the partitions', as everybody has them, and in the order in which a commit writes to them.
create function meshhook_engine.drop_month(p_month date) returns int
language plpgsql security definer set search_path = '' as $$
declare
  v_archive boolean := (select r.archive from meshhook_engine.retention r);
  v_part text;
  v_dropped int := 0;
begin
  perform from meshhook_engine.retention for no key update;
  lock table only meshhook.run_events, only meshhook.logs in access exclusive mode;
  for v_part in select t from meshhook_engine.month_tables(p_month) t where t not like 'runs%' loop
    execute format('lock table meshhook_engine.%I in access exclusive mode', v_part);
    if v_archive and not exists (select from meshhook_engine.archives a where a.name = v_part
        and a.dropped_at is null and a.done_at is not null
        and meshhook_engine.archive_count(v_part, a.cursor, null) = 0) then
      raise exception '% is not archived as a whole', v_part using errcode = 'MH003';
    end if;
    execute format('drop table meshhook_engine.%I', v_part);
    insert into meshhook.audit_log (actor, action, subject)
      values (meshhook_engine.actor(), 'partition.drop', v_part);
    v_dropped := v_dropped + 1;
  end loop;
  update meshhook_engine.archives a set dropped_at = now() where a.month = p_month and a.dropped_at is null;
  update meshhook_engine.retention set forgotten_blocks = 0,
         forget_before = meshhook_engine.uuid7_floor((p_month + interval '1 month') at time zone 'UTC');
  perform meshhook_engine.count_kept('partitions_dropped_total', v_dropped);
  return v_dropped;
end $$;
comment on function meshhook_engine.drop_month(date) is
  'Drops a month''s partitions; the rows of its runs follow by forget_runs(). MH003: it is not archived, and must be.';

-- Deliveries have no index by run: they are gone through, a hundred blocks at a time.
create function meshhook_engine.forget_runs(p_limit int) returns int
language plpgsql security definer set search_path = '' as $$
declare
  c_blocks constant int := 100;
  v_r meshhook_engine.retention;
  v_steps tid[];
  v_n int;
begin
  select * into v_r from meshhook_engine.retention for no key update;
  if v_r.forget_before is null then
    return 0;
  end if;
  v_steps := array(select s.ctid from meshhook.steps s
    where s.run_id < v_r.forget_before order by s.run_id limit p_limit);
  perform from meshhook.runs r where r.id in (
    select s.run_id from meshhook.steps s where s.ctid = any (v_steps)) order by r.id for update;
  delete from meshhook.steps s where s.ctid = any (v_steps) and s.run_id < v_r.forget_before;
  get diagnostics v_n = row_count;
  if v_n = 0 then
    delete from meshhook.runs where ctid = any (array(select r.ctid from meshhook.runs r
      where r.id < v_r.forget_before order by r.id limit p_limit for update));
    get diagnostics v_n = row_count;
  end if;
  if v_n = 0 and v_r.forgotten_blocks
      < pg_relation_size('meshhook_engine.deliveries') / current_setting('block_size')::int then
    delete from meshhook_engine.deliveries where ctid = any (array(
      select d.ctid from meshhook_engine.deliveries d where d.run_id < v_r.forget_before
         and d.ctid >= format('(%s,0)', v_r.forgotten_blocks)::tid
         and d.ctid < format('(%s,0)', v_r.forgotten_blocks + c_blocks)::tid
       order by d.endpoint_id, d.dedupe_key for update));
    v_n := 1;
    update meshhook_engine.retention set forgotten_blocks = forgotten_blocks + c_blocks;
  end if;
  if v_n = 0 then
    update meshhook_engine.retention set forget_before = null, forgotten_blocks = 0;
  end if;
  return v_n;
end $$;
comment on function meshhook_engine.forget_runs(int) is
  'Removes some rows of runs, their steps and dedupe keys, whose month was dropped; 0: none is left.';

-- The lock that dropping takes lets nobody read or write the table meanwhile, so it isn't waited for.
create function meshhook_engine.expire(out done bigint, out more boolean)
language plpgsql security definer set search_path = '' set lock_timeout = '300ms' as $$
declare
  v_month date;
begin
  done := meshhook_engine.forget_runs(2000);
  more := done > 0;
  if more then
    return;
  end if;
  v_month := (select min(m) from meshhook_engine.expired_months() m);
  if v_month is null or not meshhook_engine.month_ended(v_month) then
    return;
  end if;
  if (select r.archive from meshhook_engine.retention r) and exists (
      select from meshhook_engine.month_tables(v_month) t where not exists (select from meshhook_engine.archives a
        where a.name = t and a.dropped_at is null and a.done_at is not null)) then
    return; -- until then
  end if;
  done := meshhook_engine.drop_month(v_month);
  more := true;
end $$;
comment on function meshhook_engine.expire() is
  'A step of retention: forget some rows of a month that was dropped, or drop the oldest month that is over its time.';

-- Nothing of ours lands in pgmq's archives; what people put there goes as the rest does.
create function meshhook_engine.trim_queues(out done bigint, out more boolean)
language plpgsql security definer set search_path = '' as $$
declare
  v_before timestamptz := (select now() - r.months * interval '1 month' from meshhook_engine.retention r);
begin
  if v_before is null then
    done := 0;
    more := false;
    return;
  end if;
  with w as (delete from pgmq.a_mh_work where ctid = any (array(select a.ctid from pgmq.a_mh_work a
         where a.archived_at < v_before order by a.archived_at limit 1000 for update skip locked)) returning 1),
       d as (delete from pgmq.a_mh_dead where ctid = any (array(select a.ctid from pgmq.a_mh_dead a
         where a.archived_at < v_before order by a.archived_at limit 1000 for update skip locked)) returning 1),
       q as (delete from pgmq.q_mh_dead where ctid = any (array(select x.ctid from pgmq.q_mh_dead x
         where x.vt < v_before and x.enqueued_at < v_before order by x.vt limit 1000 for update skip locked)) returning 1)
  select (select count(*) from w) + (select count(*) from d) + (select count(*) from q) into done;
  more := done >= 1000;
  perform meshhook_engine.count_kept('messages_trimmed_total', done);
end $$;
comment on function meshhook_engine.trim_queues() is
  'Removes messages of pgmq''s archives, and dead letters, that are over the time that the record is kept, a thousand each.';

-- The last one of each kind stays: it says since when there is none.
create function meshhook_engine.clear_workers() returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  v_n bigint;
begin
  delete from meshhook.workers w where w.id in (select x.id from meshhook.workers x
    where x.seen_at < now() - interval '1 day' and exists (select from meshhook.workers n
      where n.kind = x.kind and n.seen_at > x.seen_at) limit 1000 for update skip locked);
  get diagnostics v_n = row_count;
  perform meshhook_engine.count_kept('dead_workers_cleared_total', v_n);
  return v_n;
end $$;
comment on function meshhook_engine.clear_workers() is 'Removes processes that nobody heard of for a day, up to 1,000.';

-- Reconciling --------------------------------------------------------------------------------

-- Every transaction moves a count together with what is counted. So in one snapshot, the one of a
-- single statement, the two differ by what is wrong and by nothing else, whatever goes on; and a
-- difference that is added, not a value that is set, is right for transactions on their way, too.
-- Nobody need stop or wait. Two of these at once would add it twice: the lock is for that, and is
-- taken before the statement that looks.
--
-- The statement is a short one, so it counts to 10,000 and no further: beyond, it knows that there
-- are so many at least, and a count that says less is raised to that.

create function meshhook_engine.mend_queued() returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  c_most constant int := 50000;
  v_n bigint;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook.mend', 0));
  if (select count(*) from (select from pgmq.q_mh_work limit c_most + 1) x) > c_most then
    return 0; -- deep beyond what is worth a look: another time
  end if;
  with q as (select (m.message ->> 'p')::uuid as project_id, count(*) as n from pgmq.q_mh_work m group by 1),
       a as (select x.project_id, sum(x.queued) as n from meshhook_engine.admission x group by 1),
       off as (select project_id, coalesce(q.n, 0) - coalesce(a.n, 0) as n from q full join a using (project_id)
                where coalesce(q.n, 0) <> coalesce(a.n, 0) and project_id is not null),
       mended as (insert into meshhook_engine.admission as x (project_id, slot, queued)
         select o.project_id, 32767, o.n from off o order by o.project_id
         on conflict (project_id, slot) do update set queued = x.queued + excluded.queued)
  select count(*) into v_n from off;
  perform meshhook_engine.count_kept('reconciled_total', v_n, 'queued');
  return v_n;
end $$;
comment on function meshhook_engine.mend_queued() is
  'Holds the counts of the projects'' messages in the queue against the queue; how many were wrong. Not when it is deeper than 50,000.';

-- Of runs it counts those that went on when they were gone through, and those behind. A plan for
-- any project would be wrong for one that has nearly all rows.
create function meshhook_engine.mend_project(p_project uuid) returns bigint
language plpgsql security definer set search_path = '' set plan_cache_mode = force_custom_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  c_most constant int := 10000;
  v_settled uuid;
  v_floor meshhook_engine.fold_floor := (select f from meshhook_engine.fold_floor f); -- holds, if older, too
  v_backlog bigint; v_running bigint;
begin
  perform pg_advisory_xact_lock(hashtextextended('meshhook.mend', 0));
  v_settled := (select coalesce(r.settled, '00000000-0000-0000-0000-000000000000') from meshhook_engine.retention r);
  with c as materialized (
         select x.metric, sum(x.value) as n from (
           select c.metric, c.value from meshhook.counters c where c.project_id = p_project
           union all
           select d.metric, d.delta from meshhook_engine.counter_deltas d where d.project_id = p_project
              and (d.xid >= v_floor.upto or d.xid = any (v_floor.open))) x
          group by 1),
       counted as (
         select 'backlog' as counter, 'backlog' as metric, count(*) as n, count(*) > c_most as more,
                (select sum(c.n) from c where c.metric = 'backlog') as said
           from (select from meshhook_engine.backlog b where b.project_id = p_project limit c_most + 1) x
         union all
         select 'running', 'run.mended', count(*) filter (where x.status = 'running'), count(*) > c_most,
                (select sum(case when c.metric in ('run.started', 'run.mended') then c.n else -c.n end)
                   from c where c.metric in ('run.started', 'run.mended', 'run.succeeded', 'run.failed', 'run.cancelled'))
           from ((select r.status from meshhook_engine.lasting_runs l join meshhook.runs r on r.id = l.run_id
                   where l.project_id = p_project limit c_most + 1)
                 union all
                 (select r.status from meshhook.runs r
                   where r.project_id = p_project and r.id > v_settled limit c_most + 1)) x),
       off as (select x.counter, x.metric, x.n - coalesce(x.said, 0) as n from counted x
                where x.n > coalesce(x.said, 0) or x.n < coalesce(x.said, 0) and not x.more),
       mended as (insert into meshhook_engine.counter_deltas (project_id, metric, delta)
         select p_project, o.metric, o.n from off o)
  select count(*) filter (where o.counter = 'backlog'), count(*) filter (where o.counter = 'running')
    into v_backlog, v_running from off o;
  perform meshhook_engine.count_kept('reconciled_total', v_backlog, 'backlog');
  perform meshhook_engine.count_kept('reconciled_total', v_running, 'running');
  return v_backlog + v_running;
end $$;
comment on function meshhook_engine.mend_project(uuid) is
  'Holds a project''s counts of its backlog and of its running runs against the tables, up to 10,000; how many were wrong.';

create function meshhook_engine.reconcile(p_ms int, out done bigint, out more boolean)
language plpgsql security definer set search_path = '' as $$
declare
  v_until timestamptz := clock_timestamp() + p_ms / 2 * interval '1 millisecond'; -- one may take as long
  v_after uuid := (select c.cursor from meshhook_engine.chores c where c.name = 'counters');
begin
  done := 0;
  if v_after is null then
    v_after := '00000000-0000-0000-0000-000000000000';
    done := meshhook_engine.mend_queued();
    v_until := clock_timestamp(); -- and no project
  end if;
  while clock_timestamp() < v_until loop
    v_after := (select p.id from meshhook.projects p where p.id > v_after order by p.id limit 1);
    exit when v_after is null;
    done := done + meshhook_engine.mend_project(v_after);
  end loop;
  more := v_after is not null;
  insert into meshhook_engine.chores as c (name, cursor) values ('counters', v_after)
    on conflict (name) do update set cursor = excluded.cursor;
end $$;
comment on function meshhook_engine.reconcile(int) is
  'A step of holding counters against what they count: the queue''s first, then project by project for so many ms.';

-- The chores ---------------------------------------------------------------------------------

-- A chore that fails is undone and says so: the others, and the monitor, go on. A leader that comes
-- new goes on where the one before it was: what that one did within p_every_ms isn't due.
create function meshhook_engine.upkeep(p_fence bigint, p_chore text, p_ms int default 50,
  p_every_ms bigint default 0, out done bigint, out more boolean, out problem text, out wait_ms bigint)
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  more := false;
  wait_ms := (select least(p_every_ms, p_every_ms - floor(1000 * extract(epoch from now() - c.done_at)))
    from meshhook_engine.chores c where c.name = p_chore);
  if wait_ms > 0 then
    done := 0;
    return;
  end if;
  wait_ms := 0;
  begin
    case p_chore
      when 'minutes' then
        done := meshhook_engine.roll_up_metrics(p_fence);
        more := done > 0;
      when 'days' then
        done := meshhook_engine.metric_days() + meshhook_engine.drop_metric_days();
        more := done > 0;
      when 'partitions' then done := meshhook_engine.ensure_partitions();
      when 'messages' then
        done := meshhook_engine.outbox_trim();
        more := done >= 1000;
      when 'workers' then
        done := meshhook_engine.clear_workers();
        more := done >= 1000;
      when 'queues' then select * into done, more from meshhook_engine.trim_queues();
      when 'runs' then select * into done, more from meshhook_engine.settle_runs(1000);
      when 'counters' then select * into done, more from meshhook_engine.reconcile(p_ms);
      when 'retention' then select * into done, more from meshhook_engine.expire();
    end case;
    insert into meshhook_engine.chores as c (name, done_at) values (p_chore, case when not more then now() end)
      on conflict (name) do update set done_at = coalesce(excluded.done_at, c.done_at), problem = null;
  exception when others then
    done := -1;
    more := false;
    problem := left(sqlerrm, 300);
    insert into meshhook_engine.chores as c (name, failed_at, problem) values (p_chore, now(), upkeep.problem)
      on conflict (name) do update set failed_at = now(), problem = excluded.problem;
  end;
end $$;
comment on function meshhook_engine.upkeep(bigint, text, int, bigint) is
  'One step of a chore of the leader: minutes, days, partitions, messages, workers, queues, runs, counters, retention. done: how much, -1: it failed, problem says why; more: there is more of it; wait_ms: it is due only then, as it was done within p_every_ms.';

create function meshhook_engine.probe_keep()
returns table (metric text, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select k.metric, nullif(k.label, ''), nullif(k.label_value, ''), k.value::float8 from meshhook_engine.kept k
    union all
    select 'archive_failing', 'table', a.name, 1 from meshhook_engine.archives a
     where a.dropped_at is null and a.problem is not null
    union all
    select 'upkeep_failing', 'chore', c.name, 1 from meshhook_engine.chores c where c.problem is not null
    union all
    select 'months_expired', null, null, count(*) from meshhook_engine.expired_months();
end $$;
comment on function meshhook_engine.probe_keep() is
  'Metrics of keeping: what the chores did, which of them fail, and months that are over their time and still there.';

insert into meshhook.alert_rules (name, expr, hold_s, keep_s, severity, summary, description, runbook) values
  ('archive-failing', 'archive_failing > 0', 600, 60, 'warning', '{{ labels.table }} can''t be archived',
   'Nothing of it is dropped meanwhile, so the database grows: meshhook retention says why.',
   'docs/monitoring.md#archive-failing'),
  ('upkeep-failing', 'upkeep_failing > 0', 900, 60, 'warning', 'The monitor''s chore {{ labels.chore }} fails',
   'meshhook doctor says why.', 'docs/monitoring.md#upkeep-failing');
