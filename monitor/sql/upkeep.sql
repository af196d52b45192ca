-- $1 fence, $2 chore, $3 ms that a step may take
select done, more from meshhook_engine.upkeep($1, $2, $3)
