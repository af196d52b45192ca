-- What a reader at cursor $2 of channel $1 has not seen, at most $3 lines, and how the channel
-- stands, of one moment. A row without seq says the latter alone.
with channel as (
  select r.id, r.log_epoch as epoch, r.log_seq as last_seq, r.final_log_seq as final_seq,
    r.created_at
  from meshhook.runs r where r.id = $1::uuid
  union all
  select c.id, c.epoch, c.last_seq, null, c.created_at
  from meshhook.channels c where c.id = $1::uuid
)
select c.epoch::int8 as epoch, c.last_seq, c.final_seq, now() as now, l.seq, l.ts, l.level, l.message, l.attrs
from channel c
left join lateral (
  select l.seq, l.ts, l.level, l.message, l.attrs from meshhook.logs l
  where l.channel_id = c.id and l.seq > $2 and l.ts >= c.created_at - interval '1 hour'
  order by l.seq limit $3
) l on true
order by l.seq
