select row_to_json(x)::text as record from (
  select d.name as check, case d.ok when true then 'ok' when false then 'failed' else 'unknown' end as result,
    d.detail, case when d.ok is not true then d.mend end as mend
  from meshhook_engine.doctor() d
) x
