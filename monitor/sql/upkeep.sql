-- $1 fence, $2 chore, $3 ms that a step may take
select done, more, problem from meshhook_engine.upkeep($1, $2, $3)
