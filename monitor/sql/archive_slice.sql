-- $1 fence, $2 table and month, $3 after which row, $4 bytes, $5 ms
select upto, line from meshhook_engine.archive_slice($1, $2, $3, $4, $5)
