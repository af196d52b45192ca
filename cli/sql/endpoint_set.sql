-- $1 endpoint, $2 columns to change, $3 another secret or null, $4 the version that it is bound to
select row_to_json(x)::text as record from (
  select e.slug, e.scheme ->> 'type' as scheme, e.enabled, e.mapping, e.headers, e.rate, e.burst,
    e.keep_body_days, e.max_body_bytes
  from meshhook_engine.set_endpoint($1::uuid, $2, $3, $4) e
) x
