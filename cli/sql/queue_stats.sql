-- Nothing here reads a deep table whole: lengths beyond 10,000 are the planner's estimate (of
-- the last vacuum or analyze), and say so.
with known as (
  select c.oid, greatest(c.reltuples, 0)::bigint as estimate from pg_class c
  where c.oid in ('pgmq.q_mh_work'::regclass, 'pgmq.q_mh_dead'::regclass,
    'meshhook_engine.backlog'::regclass, 'meshhook_engine.timers'::regclass)
), counted as (
  select
    (select count(*) from (select from pgmq.q_mh_work limit 10001) x) as queue,
    (select count(*) from (select from pgmq.q_mh_work where vt <= now() order by vt limit 10001) x) as ready,
    (select count(*) from (select from pgmq.q_mh_work where vt > now() order by vt desc limit 10001) x) as in_flight,
    (select count(*) from (select from meshhook_engine.backlog limit 10001) x) as backlog,
    (select count(*) from (select from meshhook_engine.timers limit 10001) x) as timers,
    (select count(*) from (select from pgmq.q_mh_dead limit 10001) x) as dead
)
select row_to_json(x)::text as record from (
  select
    case when c.queue > 10000 then greatest(c.queue, (select estimate from known where oid = 'pgmq.q_mh_work'::regclass)) else c.queue end as queue,
    c.ready, c.in_flight,
    -- what was sent ahead lies a hundred years back
    extract(epoch from now() - least(
      (select min(vt) from pgmq.q_mh_work where vt < now() - interval '438000 hours') + interval '876000 hours',
      (select min(vt) from pgmq.q_mh_work where vt between now() - interval '438000 hours' and now())))::numeric(12, 3)
      as oldest_ready_s,
    case when c.backlog > 10000 then greatest(c.backlog, (select estimate from known where oid = 'meshhook_engine.backlog'::regclass)) else c.backlog end as backlog,
    case when c.timers > 10000 then greatest(c.timers, (select estimate from known where oid = 'meshhook_engine.timers'::regclass)) else c.timers end as timers,
    (select min(due_at) from meshhook_engine.timers) as next_timer,
    case when c.dead > 10000 then greatest(c.dead, (select estimate from known where oid = 'pgmq.q_mh_dead'::regclass)) else c.dead end as dead,
    (select count(*) from meshhook.workers where kind = 'worker' and seen_at > now() - interval '1 minute') as workers,
    array_remove(array[case when c.queue > 10000 then 'queue' end, case when c.ready > 10000 then 'ready' end,
      case when c.in_flight > 10000 then 'in_flight' end, case when c.backlog > 10000 then 'backlog' end,
      case when c.timers > 10000 then 'timers' end, case when c.dead > 10000 then 'dead' end], null) as estimated
  from counted c
) x
