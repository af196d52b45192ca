-- $1 whether by project
select metric, project, label_value, null::int as bucket, value from meshhook_engine.scrape($1)
union all
select metric, null, null, bucket, n from meshhook_engine.histogram_totals()
order by 1, 2 nulls first, 3 nulls first
