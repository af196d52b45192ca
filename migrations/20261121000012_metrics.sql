-- Queue health: who leads among the monitors, what a tick measures, and what is kept of it.
--
-- A tick costs the same whatever the depth: lengths come from counters or stop at a bound, ages
-- from the first entry of an index. Nothing here walks a deep table.

-- Leading ------------------------------------------------------------------------------------

-- One monitor leads. The fence grows with every change of hands; what a leader writes carries it,
-- so that one that was stopped and goes on writes nothing. A lease is on the database's clock.
create table meshhook_engine.leader (
  singleton boolean primary key default true check (singleton),
  holder uuid,
  fence bigint not null default 0,
  until timestamptz not null default '-infinity',
  queue_floor timestamptz not null default '-infinity', -- where probe_queue() begins to look
  timers_floor timestamptz not null default '-infinity',
  full_at timestamptz not null default '-infinity'
) with (fillfactor = 10);
insert into meshhook_engine.leader default values;
comment on table meshhook_engine.leader is 'One row: which monitor leads, until when, the number of its reign, and where it looks for what is ready.';

create function meshhook_engine.lead(p_holder uuid, p_ttl interval) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  v_fence bigint;
begin
  perform set_config('synchronous_commit', 'off', true); -- a lost lease is only shorter
  update meshhook_engine.leader l
     set fence = case when l.holder = p_holder and l.until > clock_timestamp() then l.fence else l.fence + 1 end,
         holder = p_holder, until = clock_timestamp() + p_ttl
   where l.singleton and (l.holder is not distinct from p_holder or l.until <= clock_timestamp())
  returning l.fence into v_fence;
  return v_fence;
end $$;
comment on function meshhook_engine.lead(uuid, interval) is
  'Lead for so long, or go on leading; the fence of this reign, or null while another leads. Whoever let its lease run out gets a new fence.';

create function meshhook_engine.step_down(p_holder uuid) returns void
language sql security definer set search_path = ''
begin atomic
  update meshhook_engine.leader set until = '-infinity' where holder = p_holder;
end;
comment on function meshhook_engine.step_down(uuid) is 'A leader ends in order: the next one need not wait.';

create function meshhook_engine.check_fence(p_fence bigint) returns void
language plpgsql set search_path = '' as $$
begin
  perform from meshhook_engine.leader l
    where l.fence = p_fence and l.until > clock_timestamp() for share;
  if not found then
    raise exception 'another monitor leads' using errcode = 'MH002';
  end if;
end $$;
comment on function meshhook_engine.check_fence(bigint) is
  'MH002 unless this is the fence of the monitor that leads; keeps it from changing hands until the transaction ends.';

-- What is kept -------------------------------------------------------------------------------

-- A row a tick for the installation (project_id null) and for each project that has something to
-- say. data: a metric's value, or for labelled ones an object of them: {"queue_visible": 3,
-- "oldest_age": {"work": 0.2, "backlog": 12}}. Fine rows are kept for a day, minutes for 30.
create table meshhook.queue_metrics (
  at timestamptz not null,
  project_id uuid,
  data jsonb not null
) partition by range (at);
create index queue_metrics_of on meshhook.queue_metrics (project_id, at);
create index queue_metrics_at on meshhook.queue_metrics (at);
create table meshhook.queue_metrics_minute (
  at timestamptz not null,
  project_id uuid,
  data jsonb not null
) partition by range (at);
create index queue_metrics_minute_of on meshhook.queue_metrics_minute (project_id, at);
comment on table meshhook.queue_metrics is 'Queue health by tick, for a day; project_id is null for the installation.';
comment on table meshhook.queue_metrics_minute is 'Queue health by minute, for 30 days: the mean of what is a level, the last of what is a count (..._total), the highest of a percentile (p50, ...).';

create function meshhook_engine.metric_days(p_ahead int default 2) returns int
language plpgsql security definer set search_path = '' set client_min_messages = 'warning' as $$
declare
  v_day date;
  v_kind text; v_part text; v_from timestamptz;
  v_made int := 0;
begin
  for v_day in select (now() at time zone 'UTC')::date + n from generate_series(-1, p_ahead) n loop
    foreach v_kind in array array['queue_metrics', 'queue_metrics_minute'] loop
      v_part := format('meshhook_engine.%I', v_kind || '_' || to_char(v_day, 'YYYYMMDD'));
      continue when to_regclass(v_part) is not null;
      v_from := v_day::timestamp at time zone 'UTC';
      execute format('create table %s (like meshhook.%I including all)', v_part, v_kind);
      execute format('alter table %s enable row level security', v_part);
      execute format('revoke all on %s from public, anon, authenticated, service_role', v_part);
      execute format('comment on table %s is %L', v_part, v_kind || ' of ' || v_day);
      execute format('alter table meshhook.%I attach partition %s for values from (%L) to (%L)',
        v_kind, v_part, v_from, v_from + interval '1 day');
      v_made := v_made + 1;
    end loop;
  end loop;
  return v_made;
end $$;
comment on function meshhook_engine.metric_days(int) is
  'Make the partitions of metrics for yesterday, today and so many days ahead that are missing.';

-- One at a time: who reads both tables, reads them in any order.
create function meshhook_engine.drop_metric_days() returns int
language plpgsql security definer set search_path = '' set lock_timeout = '2s' as $$
declare
  v_part record;
begin
  for v_part in
    select c.relname, p.relname as parent, to_date(right(c.relname, 8), 'YYYYMMDD') as day
      from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
     where i.inhparent in ('meshhook.queue_metrics'::regclass, 'meshhook.queue_metrics_minute'::regclass)
     order by 3
  loop
    continue when v_part.day >= (now() at time zone 'UTC')::date
      - case v_part.parent when 'queue_metrics' then 1 else 30 end;
    execute format('drop table meshhook_engine.%I', v_part.relname);
    return 1;
  end loop;
  return 0;
end $$;
comment on function meshhook_engine.drop_metric_days() is
  'Drop a day of metrics that is over its time, which is 1 day by tick and 30 days by minute; how many.';

select meshhook_engine.metric_days();

create function meshhook_engine.roll_up_metrics(p_fence bigint) returns int
language plpgsql security definer set search_path = '' as $$
declare
  v_from timestamptz; v_to timestamptz := date_trunc('minute', now());
  v_rows int;
begin
  perform meshhook_engine.check_fence(p_fence);
  select coalesce(max(m.at) + interval '1 minute', v_to - interval '1 hour') into v_from
    from meshhook.queue_metrics_minute m where m.project_id is null and m.at > v_to - interval '1 day';
  -- a long pause is made up for step by step, from where there is something
  v_from := greatest(v_from, (select date_trunc('minute', min(m.at)) from meshhook.queue_metrics m
    where m.at >= v_from and m.at < v_to and m.project_id is null));
  v_to := least(v_to, v_from + interval '5 minutes');
  insert into meshhook.queue_metrics_minute (at, project_id, data)
  select x.minute, x.project_id, jsonb_object_agg(x.metric, x.value)
    from (select p.minute, p.project_id, p.metric,
                 case when bool_and(p.label is null) then to_jsonb(max(p.value))
                      else jsonb_object_agg(coalesce(p.label, ''), p.value) end as value
            from (select date_trunc('minute', m.at) as minute, m.project_id, d.key as metric, l.key as label,
                         round((case when d.key like '%\_total' or l.key ~ '^p[0-9]+$' then max(l.value::text::numeric)
                                     else avg(l.value::text::numeric) end), 6) as value
                    from meshhook.queue_metrics m, jsonb_each(m.data) d, lateral (
                           select null::text as key, d.value where jsonb_typeof(d.value) = 'number'
                           union all
                           select e.key, e.value from jsonb_each(case when jsonb_typeof(d.value) = 'object'
                             then d.value else '{}' end) e where jsonb_typeof(e.value) = 'number') l
                   where m.at >= v_from and m.at < v_to
                   group by 1, 2, 3, 4) p
           group by 1, 2, 3) x
   group by 1, 2;
  get diagnostics v_rows = row_count;
  return v_rows;
end $$;
comment on function meshhook_engine.roll_up_metrics(bigint) is
  'Make minutes of the ticks that are over: the mean of levels, the last of counts, the highest of percentiles. At most five at a time; the number of rows.';

-- A tick -------------------------------------------------------------------------------------

-- These are written in PL/pgSQL because that keeps plans: to plan them anew each time takes several
-- times as long as to carry them out.

-- The first entry that is ready, in the order of a queue's lanes; its age is how long it has
-- been in the queue. While old snapshots are held, what is dead stays in the indexes: so they are
-- entered at a floor, below which the last look found nothing alive (docs/decisions/0003). A full
-- look, from the front and at all that is leased, is taken again after 500 times what it took, so
-- on a healthy queue at each tick; in between, what is leased is what was admitted and isn't ready.
create function meshhook_engine.probe_queue(p_now timestamptz)
returns table (metric text, label text, label_value text, value float8)
language plpgsql set search_path = ''
set enable_seqscan = off as $$
declare
  l meshhook_engine.leader;
  v_begun timestamptz := clock_timestamp();
  v_full boolean;
  v_first timestamptz; v_due timestamptz;
  v_age float8; v_visible bigint := 0; v_flight bigint; v_dead bigint; v_delayed bigint := 0;
begin
  select * into l from meshhook_engine.leader x where x.singleton;
  v_full := l.full_at not between v_begun and v_begun + interval '5 minutes' or l.queue_floor > p_now;
  if v_full then
    l.queue_floor := '-infinity';
    l.timers_floor := '-infinity';
  end if;
  select min(w.vt), extract(epoch from p_now - min(w.enqueued_at)) into v_first, v_age
    from (select q.vt, q.enqueued_at from pgmq.q_mh_work q where q.vt >= l.queue_floor and q.vt <= p_now
           order by q.vt limit 100) w;
  if v_first is not null then
    select count(*) into v_visible from (
      select from pgmq.q_mh_work w where w.vt >= v_first and w.vt <= p_now limit 10001) x;
  end if;
  if v_full then
    select count(*) into v_flight from (select from pgmq.q_mh_work w where w.vt > p_now limit 10001) x;
  else
    select greatest(sum(a.queued) - v_visible, 0) into v_flight from meshhook_engine.admission a;
  end if;
  select count(*) into v_dead from (select from pgmq.q_mh_dead limit 10001) x;
  select t.due_at into v_due from meshhook_engine.timers t where t.due_at >= l.timers_floor order by t.due_at limit 1;
  if v_due is not null then
    select count(*) into v_delayed from (select from meshhook_engine.timers t where t.due_at >= v_due limit 10001) x;
  end if;
  if v_delayed > 10000 then
    select greatest(c.reltuples::bigint, v_delayed) into v_delayed from pg_catalog.pg_class c
      where c.oid = 'meshhook_engine.timers'::regclass;
  end if;
  update meshhook_engine.leader set queue_floor = coalesce(v_first, p_now) - interval '100 ms',
    timers_floor = least(v_due, p_now) - interval '100 ms',
    full_at = case when v_full then clock_timestamp()
      + least(500 * (clock_timestamp() - v_begun), interval '5 minutes') else l.full_at end
   where singleton;
  return query select m.* from (values
    ('queue_visible', null, null, v_visible::float8),
    ('queue_in_flight', null, null, v_flight::float8),
    ('dead_letters', null, null, v_dead::float8),
    ('queue_delayed', null, null, v_delayed::float8),
    ('oldest_age', 'queue', 'work', coalesce(v_age, 0)),
    ('oldest_age', 'queue', 'timers', greatest(coalesce(extract(epoch from p_now - v_due), 0), 0)::float8)) m;
end $$;
comment on function meshhook_engine.probe_queue is
  'The queue''s own metrics: lengths exact up to 10,000, ages in seconds.';

-- What counters come to, as metrics. One that nothing happened to yet is 0: an increase can be told
-- only from a value before.
create function meshhook_engine.counter_metrics(p_projects uuid[])
returns table (metric text, project uuid, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select v.metric, s.project, v.label, v.label_value, v.value::float8
      from (select p.id,
                   coalesce(sum(c.value) filter (where c.metric = 'run.started'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'run.succeeded'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'run.failed'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'run.cancelled'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'run.abandoned'), 0),
                   coalesce(sum(c.value) filter (where c.metric in ('step.succeeded', 'step.failed')), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'step.failed'), 0),
                   -- a timer is set for a delay, which says step.waiting, or for a retry
                   coalesce(sum(c.value) filter (where c.metric = 'timer.set'), 0)
                     - coalesce(sum(c.value) filter (where c.metric = 'step.waiting'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'log.lines'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'broadcast.sent'), 0),
                   coalesce(sum(c.value) filter (where c.metric = 'broadcast.failed'), 0)
              from unnest(p_projects) p(id) left join meshhook.counters c on c.project_id = p.id group by p.id)
           s(project, started, succeeded, failed, cancelled, abandoned, steps, step_failures, retries, lines, sent, refused),
           lateral (values
             ('arrivals_total', null, null, s.started),
             ('runs_ended_total', 'status', 'succeeded', s.succeeded),
             ('runs_ended_total', 'status', 'failed', s.failed),
             ('runs_ended_total', 'status', 'cancelled', s.cancelled),
             ('runs_failed_total', null, null, s.failed),
             ('runs_abandoned_total', null, null, s.abandoned),
             ('steps_total', null, null, s.steps),
             ('step_failures_total', null, null, s.step_failures),
             ('retries_total', null, null, greatest(s.retries, 0)),
             ('log_lines_total', null, null, s.lines),
             ('broadcasts_total', null, null, s.sent),
             ('broadcast_failures_total', null, null, s.refused)) v(metric, label, label_value, value);
end $$;
comment on function meshhook_engine.counter_metrics is
  'The counts of these projects as metrics; the id of zeros is all projects, those that are gone too.';

-- By project: what its counters and its share of the queue say. Those without any news for an
-- hour, nothing of which waits, are left out, and beyond 500 the quietest.
create function meshhook_engine.probe_projects(p_now timestamptz)
returns table (metric text, project uuid, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    with busy as materialized (
      select c.project_id from meshhook.counters c
       where c.project_id <> '00000000-0000-0000-0000-000000000000' group by c.project_id
      having max(c.updated_at) > p_now - interval '1 hour'
          or sum(c.value) filter (where c.metric = 'backlog') > 0
       order by max(c.updated_at) desc limit 500),
    c as materialized (
      select c.project_id, c.metric, c.value from meshhook.counters c join busy using (project_id)),
    waiting as materialized (
      select b.project_id, f.at from busy b, lateral (
        select x.at from meshhook_engine.backlog x where x.project_id = b.project_id
         order by x.priority, x.id limit 1) f)
    select 'queue_length', a.project_id, null, null, greatest(sum(a.queued), 0)::float8
      from meshhook_engine.admission a join busy using (project_id) group by a.project_id
    union all
    select 'queue_backlog', c.project_id, null, null,
           greatest(coalesce(sum(c.value) filter (where c.metric = 'backlog'), 0), 0)::float8 from c group by c.project_id
    union all
    select 'oldest_age', w.project_id, 'queue', 'backlog',
           greatest(extract(epoch from p_now - w.at), 0) from waiting w
    union all
    select m.* from meshhook_engine.counter_metrics(array(select b.project_id from busy b)) m
    union all
    select 'runs_running', c.project_id, null, null,
           greatest(sum(case when c.metric in ('run.started', 'run.mended') then c.value else -c.value end), 0)::float8
      from c where c.metric in ('run.started', 'run.mended', 'run.succeeded', 'run.failed', 'run.cancelled') group by 2;
end $$;
comment on function meshhook_engine.probe_projects is
  'Metrics by project, from counters and the first entry of its backlog. At most 500 projects, those with the newest news.';

-- Who keeps the database from removing what is dead, and by how much.
create function meshhook_engine.xmin_holders()
returns table (kind text, name text, age bigint, seconds float8, detail text)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select x.* from (
      select 'session', a.pid::text, age(coalesce(a.backend_xmin, a.backend_xid))::bigint,
             extract(epoch from clock_timestamp() - a.xact_start)::float8,
             concat_ws(' ', a.usename, nullif(a.application_name, ''), a.state)
        from pg_catalog.pg_stat_activity a
       where (a.backend_xmin is not null or a.backend_xid is not null)
         and a.xact_start < clock_timestamp() - interval '5 seconds' and a.pid <> pg_backend_pid()
      union all
      select 'slot', s.slot_name::text, greatest(age(s.xmin), age(s.catalog_xmin))::bigint, null,
             case when s.active then 'active' else 'nobody reads it' end
               || ', keeps ' || pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn))
        from pg_catalog.pg_replication_slots s
       where s.xmin is not null or s.catalog_xmin is not null or s.restart_lsn is not null
      union all
      select 'prepared', p.gid, age(p.transaction)::bigint,
             extract(epoch from clock_timestamp() - p.prepared)::float8, p.owner::text
        from pg_catalog.pg_prepared_xacts p) x(kind, name, age, seconds, detail)
     order by x.age desc nulls last limit 10;
end $$;
comment on function meshhook_engine.xmin_holders is
  'What holds the oldest snapshots: sessions by pid, replication slots by name, prepared transactions by gid; age in transactions.';

create function meshhook_engine.probe_database(p_now timestamptz)
returns table (metric text, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    with held as materialized (select * from meshhook_engine.xmin_holders()),
    hot(name) as (values ('pgmq.q_mh_work'), ('pgmq.q_mh_dead'), ('meshhook.runs'), ('meshhook.steps'),
      ('meshhook_engine.timers'), ('meshhook_engine.backlog'), ('meshhook_engine.counter_deltas'))
    select 'xmin_age_seconds', h.kind, h.name, h.seconds from held h where h.seconds is not null
    union all
    select 'xmin_age', h.kind, h.name, h.age::float8 from held h
    union all
    select 'slot_idle', 'slot', h.name, 1 from held h where h.kind = 'slot' and h.detail not like 'active%'
    union all
    select x.metric, 'table', h.name, x.value
      from hot h, lateral (select pg_stat_get_dead_tuples(h.name::regclass)::float8,
                                  pg_table_size(h.name::regclass)::float8) s(dead, bytes),
           lateral (values ('dead_tuples', s.dead), ('table_bytes', s.bytes)) x(metric, value)
    union all
    select 'database_bytes', null, null, pg_catalog.pg_database_size(current_database())::float8
     where not exists (select from meshhook.queue_metrics m -- it asks the file system about every file
                        where m.project_id is null and m.at >= date_trunc('minute', p_now))
    union all
    select 'wal_bytes_total', null, null, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8
    union all
    select 'pg_connections', null, null, count(*)::float8 from pg_catalog.pg_stat_activity
     where backend_type = 'client backend'
    union all
    select 'pg_connections_used', null, null, count(*)::float8 / current_setting('max_connections')::int
      from pg_catalog.pg_stat_activity where backend_type = 'client backend'
    union all
    select 'notify_queue', null, null, pg_catalog.pg_notification_queue_usage()
    union all
    select 'workers_alive', 'kind', k.kind, count(w.id)::float8
      from (values ('worker'), ('gateway'), ('monitor')) k(kind)
      left join meshhook.workers w on w.kind = k.kind and w.seen_at > p_now - interval '40 seconds'
     group by k.kind
    union all
    select 'worker_load', null, null, coalesce(sum((w.info ->> 'held')::float8), 0)
      from meshhook.workers w where w.kind = 'worker' and w.seen_at > p_now - interval '40 seconds'
    union all
    select 'sse_connections', null, null, coalesce(sum((w.info ->> 'streams')::float8), 0)
      from meshhook.workers w where w.kind = 'gateway' and w.seen_at > p_now - interval '40 seconds'
    union all
    select 'partitions_ahead', 'table', p.name, (count(*) filter (
             where to_date(right(c.relname, 7), 'YYYY_MM') > p_now at time zone 'UTC'))::float8
      from (values ('run_events'), ('logs')) p(name)
      join pg_catalog.pg_inherits i on i.inhparent = ('meshhook.' || p.name)::regclass
      join pg_catalog.pg_class c on c.oid = i.inhrelid group by p.name;
end $$;
comment on function meshhook_engine.probe_database is
  'What the database itself and the processes say: holders of old snapshots, dead rows, sizes in bytes, WAL, connections, heartbeats, partitions ahead.';

-- One statement does all that a tick asks of the database: lead or go on leading, fold the
-- counters, measure, keep. The rows are what was measured; none: another leads. What only the
-- monitor can know comes with it: p_log_lag, in seconds, or null; p_broken, channels of alerts that
-- it leaves alone after failures in a row.
create function meshhook_engine.tick(p_holder uuid, p_ttl interval, p_log_lag float8 default null,
  p_broken uuid[] default '{}')
returns table (fence bigint, at timestamptz, metric text, project uuid, label text, label_value text,
  value float8)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_fence bigint := meshhook_engine.lead(p_holder, p_ttl);
  v_metric text[]; v_project uuid[]; v_label text[]; v_label_value text[]; v_value float8[];
begin
  if v_fence is null then
    return;
  end if;
  perform meshhook_engine.compact_counters();
  select array_agg(x.metric), array_agg(x.project), array_agg(x.label), array_agg(x.label_value),
         array_agg(x.value)
    into v_metric, v_project, v_label, v_label_value, v_value
    from (select q.metric, null::uuid as project, q.label, q.label_value, q.value
            from meshhook_engine.probe_queue(v_now) q
          union all
          select p.metric, p.project, p.label, p.label_value, p.value
            from meshhook_engine.probe_projects(v_now) p
          union all
          select h.metric, h.project, h.label, h.label_value, h.value
            from meshhook_engine.probe_histograms(v_now) h
          union all
          select f.metric, f.project, f.label, f.label_value, f.value
            from meshhook_engine.probe_delivery(v_now, p_broken) f
          union all
          select 'log_lag_seconds', null, null, null, p_log_lag
          union all
          select d.metric, null, d.label, d.label_value, d.value
            from meshhook_engine.probe_database(v_now) d
          union all
          select k.metric, null, k.label, k.label_value, k.value from meshhook_engine.probe_keep() k
          union all
          select i.metric, null, null, null, i.value from meshhook_engine.probe_intake() i) x
   where x.value is not null;
  insert into meshhook.queue_metrics (at, project_id, data)
    select v_now, y.project, jsonb_object_agg(y.metric, y.value)
      from (select x.project, x.metric, case when bool_and(x.label is null) then to_jsonb(max(x.value))
                     else jsonb_object_agg(coalesce(x.label_value, ''), x.value) end as value
              from unnest(v_metric, v_project, v_label, v_label_value, v_value)
                   x(metric, project, label, label_value, value)
             group by 1, 2) y
     group by y.project;
  perform meshhook_engine.broadcast_health();
  return query select v_fence, v_now, x.*
    from unnest(v_metric, v_project, v_label, v_label_value, v_value)
         x(metric, project, label, label_value, value);
end $$;
comment on function meshhook_engine.tick(uuid, interval, float8, uuid[]) is
  'A monitor''s tick: leads for p_ttl or goes on leading, measures, and keeps what was measured in queue_metrics. No rows: another leads. Labels: one at most beside the project.';

-- What was measured, for whoever begins to look back at it. One value a row, in the order of time.
create function meshhook_engine.metric_history(p_metrics text[], p_since timestamptz[], p_from timestamptz,
  p_to timestamptz)
returns table (at timestamptz, metric text, project uuid, label_value text, value float8)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select m.at, w.metric, m.project_id, l.key, l.value::float8
      from meshhook.queue_metrics m
      join unnest(p_metrics, p_since) w(metric, since) on m.at >= w.since and m.data ? w.metric,
      lateral (
        select null::text as key, m.data -> w.metric as value where jsonb_typeof(m.data -> w.metric) = 'number'
        union all
        select e.key, e.value from jsonb_each(case when jsonb_typeof(m.data -> w.metric) = 'object'
          then m.data -> w.metric else '{}' end) e) l
     where m.at >= p_from and m.at < p_to
     order by m.at;
end $$;
comment on function meshhook_engine.metric_history is
  'Values of metrics in queue_metrics with p_from <= at < p_to, each since its own p_since, in the order of time.';
