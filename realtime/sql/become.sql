-- $1 role, $2 the token's claims: until the end of the transaction
select set_config('role', $1, true), set_config('request.jwt.claims', $2, true);
