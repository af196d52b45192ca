-- $1 fence, $2 chore, $3 ms that a step may take, $4 ms within which it need not be done again
select done, more, problem, wait_ms from meshhook_engine.upkeep($1, $2, $3, $4)
