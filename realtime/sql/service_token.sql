-- $1 the token's SHA-256, in hex
select id, project_id, project, service, expires_at from meshhook_engine.service_token($1);
