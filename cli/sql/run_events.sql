select e.seq, json_build_object('seq', e.seq, 'type', e.type, 'payload', e.payload,
  'ts', e.ts)::text as record
from meshhook.run_events e where e.run_id = $1::uuid and e.seq > $2 order by e.seq limit $3
