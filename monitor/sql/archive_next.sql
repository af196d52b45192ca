-- $1 fence, $2 where archives go
select id, name, dir, place, cursor, parts, files from meshhook_engine.archive_next($1, $2)
