-- $1 fence, $2 how many, $3 ms to hold them, $4 channels and $5 how many each may start, $6 any other
select id, channel_id, channel_project::text as channel_project, dedup_key, body::text as body, attempts,
  again, created_at, age_ms, channel_kind, sealed, per_minute
from meshhook_engine.outbox_take($1, $2, $3 * interval '1 millisecond', $4, $5, $6)
