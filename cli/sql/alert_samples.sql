-- $1 after, $2 until, $3 project or null: all, $4 metrics
select m.at, m.project_id::text as project, d.data::text as data
from meshhook.queue_metrics m, lateral (select jsonb_object_agg(e.key, e.value) as data
  from jsonb_each(m.data) e where e.key = any ($4)) d
where m.at > $1 and m.at <= $2 and d.data is not null
  and ($3::uuid is null or m.project_id = $3::uuid) order by m.at
