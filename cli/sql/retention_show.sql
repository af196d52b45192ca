select row_to_json(x)::text as record from (
  select coalesce(r.months::text, 'for ever') as months, r.archive as archive_first,
    (select coalesce(json_agg(to_char(m, 'YYYY-MM') order by m), '[]') from meshhook_engine.expired_months() m) as expired,
    (select coalesce(json_agg(a order by a.month desc, a.name), '[]') from (
      select a.name, a.month, a.rows, a.bytes, a.parts, a.place || '/' || a.dir as place, a.sha256, a.done_at,
        a.dropped_at, case when a.problem is not null then 'failing' when a.done_at is null then 'under way'
          when a.dropped_at is null then 'done' else 'dropped' end as state, a.problem
      from meshhook_engine.archives a order by a.id desc limit 1000) a) as archives
  from meshhook_engine.retention r
) x
