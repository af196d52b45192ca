-- Until the end of the transaction: others wait behind what is asked for by one user.
select set_config('statement_timeout', '1s', true);
