-- $1 project's id, $2 service, $3 name or null, $4 milliseconds that it is valid, or null
select row_to_json(x)::text as record from (
  select t.id, $2::text as service, t.token, s.name, s.expires_at
  from meshhook.create_service_token($1, $2, $3, now() + $4::bigint * interval '1 millisecond') t
  left join lateral (select coalesce($3::text, $2::text) as name,
    now() + $4::bigint * interval '1 millisecond' as expires_at) s on true
) x
