select msg_id, vt, read_ct, message, last_seq, version_id, started_at, trigger, slice, ready_at,
  floor
from meshhook_engine.claim($1, $2, $3, $4, $5)
