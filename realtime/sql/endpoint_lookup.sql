-- $1 project, $2 endpoint, each by slug or id
select endpoint_id, project_id, secret_version, sealed, max_body_bytes, scheme, mapping, headers,
  rate, burst, keep_body
from meshhook_engine.endpoint_lookup($1, $2);
