-- $1 fence, $2 whether to write a line, not only to make sure that there is a channel
select id, seq from meshhook_engine.canary($1, $2)
