select row_to_json(x)::text as record from (
  select r.id, r.status, w.name as workflow, v.version, r.trigger, r.created_at, r.ended_at,
    extract(epoch from coalesce(r.ended_at, now()) - r.created_at)::numeric(12, 3) as seconds,
    r.last_seq as events, r.error
  from meshhook.runs r
  join meshhook.workflows w on w.id = r.workflow_id
  join meshhook.versions v on v.id = r.version_id
  where r.project_id = $1::uuid and ($2 is null or w.name = $2) and ($3 is null or r.status = $3)
  order by r.id desc limit $4
) x
