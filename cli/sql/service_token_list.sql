select row_to_json(x)::text as record from (
  select t.id, t.service, t.name, t.created_at, t.created_by, t.expires_at, t.revoked_at,
    t.last_used_at,
    case when t.revoked_at is not null then 'revoked' when t.expires_at <= now() then 'expired'
         else 'valid' end as status
  from meshhook.service_tokens t where t.project_id = $1::uuid order by t.id
) x
