-- $1 role, $2 the token's claims: until the end of the transaction, whose statements take a second each
select set_config('statement_timeout', '1s', true), set_config('role', $1, true),
  set_config('request.jwt.claims', $2, true);
