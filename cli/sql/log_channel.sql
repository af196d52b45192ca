-- The channel of service $1 and resource $3 in project $2 (a slug or an id; of a run it may be
-- null), and the number behind which to read: with $4 lines not older than that, with $5 that
-- many before the end.
with channel as (
  select r.id, r.project_id, r.log_epoch as epoch, r.log_seq as last_seq
  from meshhook.runs r join meshhook.projects p on p.id = r.project_id
  where r.id = case $1 when 'run' then $3::text::uuid end and ($2 is null or $2 in (p.slug, p.id::text))
  union all
  select c.id, c.project_id, c.epoch, c.last_seq
  from meshhook.channels c join meshhook.projects p on p.id = c.project_id
  where $2 in (p.slug, p.id::text) and c.service = $1 and c.resource = $3
)
select c.id::text as id, c.project_id::text as project_id, c.epoch::int8 as epoch, case
  when $4 is not null then coalesce((select min(l.seq) from meshhook.logs l
    where l.channel_id = c.id and l.ts >= $4) - 1, c.last_seq)
  when $5 > 0 then greatest(c.last_seq - $5, 0)
  else 0 end as start
from channel c
