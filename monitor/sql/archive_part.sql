-- $1 fence, $2 archive, $3 file, $4 its last row, $5 rows, $6 bytes, $7 SHA-256
select meshhook_engine.archive_part($1, $2, $3, $4, $5, $6, $7)
