-- How long steps wait and take: histograms, by project, merged exactly.
--
-- An attempt at a step that came by a message of its own has waited from when it was ready (sent,
-- to the queue or the backlog; its retry due; its last lease over) until a worker had it, and took
-- from then until the commit that records it was sent. That commit brings both, so a histogram
-- counts exactly what is recorded, whatever dies. What is carried out along with the step before
-- it (docs/decisions/0001) waits for nothing and isn't counted.
--
-- Buckets are those of core/histogram.h: eight of equal width an octave of microseconds. The middle
-- of one is within a sixteenth (6.25 %) of all that it counts. A cell is a bucket of one of the metrics.

-- As with counters: a commit inserts a row of deltas, whoever folds them adds them up.
create table meshhook_engine.histogram_deltas (
  project_id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default now(),
  cells smallint[] not null,
  counts int[] not null
);
create index histogram_deltas_xid on meshhook_engine.histogram_deltas (xid);
-- slot: the half minute that it was recorded in, while that is this one or the one before it. The
-- project of zeros is all projects; what was before is kept of them alone, as slot '-infinity'.
-- A row holds each cell once.
create table meshhook_engine.histograms (
  slot timestamptz not null,
  project_id uuid not null,
  cells smallint[] not null,
  counts bigint[] not null,
  primary key (slot, project_id)
) with (fillfactor = 50);
create index histograms_by_project on meshhook_engine.histograms (project_id);
comment on table meshhook_engine.histogram_deltas is 'What fold_histograms() adds to the histograms: a row a commit and project.';
comment on table meshhook_engine.histograms is 'How often each duration was seen, of the last half minutes: by project, and of all; of all (the id of zeros) also before them, as slot -infinity.';

create function meshhook_engine.cell_metric(p_cell int) returns text
language sql immutable
return (array['step_wait_seconds', 'step_time_seconds'])[1 + p_cell / 512];
comment on function meshhook_engine.cell_metric(int) is 'The metric that a cell is of; p_cell % 512 is its bucket.';

create function meshhook_engine.bucket_end(p_bucket int) returns bigint
language sql immutable
return case when p_bucket < 8 then p_bucket + 1 else (9 + p_bucket % 8)::bigint << (p_bucket / 8 - 1) end;
comment on function meshhook_engine.bucket_end(int) is 'The least microsecond above a bucket, as histogram_end() in core/histogram.h; the one before it ends where it begins.';

create function meshhook_engine.bucket_middle(p_bucket int) returns float8
language sql immutable
return (meshhook_engine.bucket_end(p_bucket) - 1
  + case when p_bucket > 0 then meshhook_engine.bucket_end(p_bucket - 1) else 0 end) / 2e6;
comment on function meshhook_engine.bucket_middle(int) is 'The middle of a bucket, in seconds: within a sixteenth of all that fell into it.';

-- The half minute before this one: what percentiles are of begins there.
create function meshhook_engine.histogram_edge(p_now timestamptz) returns timestamptz
language sql stable
return date_bin('30 seconds', p_now, timestamptz 'epoch') - interval '30 seconds';
comment on function meshhook_engine.histogram_edge(timestamptz) is 'Since when percentiles count: the half minute before this one.';

-- Called under the lock of compact_counters().
create function meshhook_engine.fold_histograms(p_floor meshhook_engine.fold_floor, p_most int)
returns bigint language plpgsql set search_path = '' as $$
declare
  all_projects constant uuid := '00000000-0000-0000-0000-000000000000';
  v_edge timestamptz := meshhook_engine.histogram_edge(clock_timestamp());
  v_folded bigint;
begin
  with gone as (
    delete from meshhook_engine.histogram_deltas where ctid = any (array(
      select d.ctid from meshhook_engine.histogram_deltas d
       where d.xid >= p_floor.upto or d.xid = any (p_floor.open) limit p_most))
    returning case when at >= v_edge then date_bin('30 seconds', at, timestamptz 'epoch') else '-infinity' end as slot,
      project_id, cells, counts),
  over as (
    delete from meshhook_engine.histograms where slot > '-infinity' and slot < v_edge
    returning project_id, cells, counts),
  more as (
    select g.slot, p.project_id, g.cell, g.n
      from (select g.slot, g.project_id, c.cell, sum(c.n) as n
              from gone g, unnest(g.cells, g.counts) c(cell, n) group by 1, 2, 3) g,
           lateral (values (g.project_id), (all_projects)) p(project_id)
     where g.slot > '-infinity' or p.project_id = all_projects
    union all
    select '-infinity', o.project_id, c.cell, c.n from over o, unnest(o.cells, o.counts) c(cell, n)
     where o.project_id = all_projects),
  sums as (
    select x.slot, x.project_id, x.cell, sum(x.n)::bigint as n
      from (select * from more union all
            select h.slot, h.project_id, c.cell, c.n
              from meshhook_engine.histograms h, unnest(h.cells, h.counts) c(cell, n)
             where (h.slot, h.project_id) in (select m.slot, m.project_id from more m)) x
     group by 1, 2, 3),
  folding as (
    insert into meshhook_engine.histograms as h (slot, project_id, cells, counts)
      select s.slot, s.project_id, array_agg(s.cell), array_agg(s.n) from sums s group by 1, 2
    on conflict (slot, project_id) do update set cells = excluded.cells, counts = excluded.counts)
  select count(*) into v_folded from gone;
  return v_folded;
end $$;
comment on function meshhook_engine.fold_histograms is
  'Add up to p_most rows of deltas above the floor to the histograms, of their projects and of all; how many rows. Of slots that are over only those of all are kept, added up.';

-- Percentiles of the last half minute to minute: the bucket in which so large a share of all ends.
-- Beyond 100 projects the quietest have none of their own.
create function meshhook_engine.probe_histograms(p_now timestamptz)
returns table (metric text, project uuid, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    with seen as materialized (
      select nullif(h.project_id, '00000000-0000-0000-0000-000000000000') as project, c.cell, sum(c.n)::float8 as n
        from meshhook_engine.histograms h, unnest(h.cells, h.counts) c(cell, n)
       where h.slot >= meshhook_engine.histogram_edge(p_now) group by 1, 2),
    cells as (
      select s.project, s.cell, s.n from seen s
       where s.project is null
          or s.project in (select x.project from seen x where x.project is not null group by 1 order by sum(x.n) desc limit 100)),
    ranked as (
      select c.project, c.cell / 512 as metric, c.cell % 512 as bucket, sum(c.n) over (w order by c.cell) as upto,
             sum(c.n) over w as total
        from cells c window w as (partition by c.project, c.cell / 512)),
    found as (
      select r.metric, r.project, min(r.bucket) filter (where r.upto >= 0.50 * r.total) as p50,
             min(r.bucket) filter (where r.upto >= 0.95 * r.total) as p95,
             min(r.bucket) filter (where r.upto >= 0.99 * r.total) as p99
        from ranked r group by 1, 2)
    select meshhook_engine.cell_metric(f.metric * 512), f.project, 'q', q.name, meshhook_engine.bucket_middle(q.bucket)
      from found f, lateral (values ('p50', f.p50), ('p95', f.p95), ('p99', f.p99)) q(name, bucket);
end $$;
comment on function meshhook_engine.probe_histograms is
  'Percentiles (p50, p95, p99) of what steps waited and took in the last half minute to minute, in seconds, within a sixteenth: by project (100 at most, the busiest), and of all. No rows where nothing was recorded.';

-- A few rows are read, however many projects there are.
create function meshhook_engine.histogram_totals()
returns table (metric text, bucket int, n bigint)
language sql stable security definer set search_path = '' as $$
  select (array['attempt_wait_seconds', 'attempt_time_seconds'])[1 + x.cell / 512], x.cell % 512, sum(x.n)::bigint
    from (select c.cell::int, c.n from meshhook_engine.histograms h, unnest(h.cells, h.counts) c(cell, n)
           where h.project_id = '00000000-0000-0000-0000-000000000000'
          union all select 0, 0 union all select 512, 0) x
   group by x.cell order by x.cell
$$;
comment on function meshhook_engine.histogram_totals() is
  'The histograms of all projects since ever, those that are gone too: how many attempts (n) fell into a bucket. They only grow; what commits brought since the last fold is not in them yet.';
