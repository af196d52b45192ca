-- $1 endpoints, $2 versions of the secrets that signed, $3 webhook ids, $4 inputs, $5 meta, $6 slot
select ord, outcome, run_id from meshhook_engine.intake($1, $2, $3, $4, $5, $6);
