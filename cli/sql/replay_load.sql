select v.definition, r.status, r.last_seq,
  (select coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'status', s.status,
      'attempt', s.attempt, 'waits', s.waits, 'live', s.live, 'seq', s.seq)), '[]')
   from meshhook.steps s where s.run_id = r.id) as steps
from meshhook.runs r join meshhook.versions v on v.id = r.version_id where r.id = $1::uuid
