-- $1 endpoint, $2 how many at most, $3 rate, $4 burst
select granted, remaining, retry_ms from meshhook_engine.lease_tokens($1, $2, $3, $4);
