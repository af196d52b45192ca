-- What a reader at cursor $2 has not seen, at most $3 lines, and how the channel stands, of one
-- moment. A row without seq says the latter alone. $4: nothing older than that.
select r.status, r.log_seq, r.final_log_seq, r.log_epoch, now() as now,
  l.seq, l.ts, l.level, l.message, l.attrs
from meshhook.runs r
left join lateral (
  select l.seq, l.ts, l.level, l.message, l.attrs from meshhook.logs l
  where l.channel_id = r.id and l.seq > $2 and ($4 is null or l.ts >= $4)
    and l.ts >= r.created_at - interval '1 hour'
  order by l.seq limit $3
) l on true
where r.id = $1::uuid
order by l.seq
