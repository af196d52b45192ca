-- $1 endpoints, $2 versions of the secrets that signed, $3 webhook ids, $4 inputs, $5 meta, $6 slot,
-- $7 digests of the bodies, $8 bodies to keep, $9 what is kept with them
select ord, outcome, run_id
from meshhook_engine.intake($1, $2, $3, $4, $5, $6, $7, $8, $9);
