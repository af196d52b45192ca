-- $1 project's id, $2 token's id; no row: it isn't one of the project's
select row_to_json(x)::text as record from (
  select t.id, t.service, meshhook.revoke_service_token(t.id) as revoked
  from meshhook.service_tokens t where t.project_id = $1::uuid and t.id = $2::uuid
) x
