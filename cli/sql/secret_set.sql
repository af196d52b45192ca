-- $1 project, $2 name, $3 its next version, $4 envelope, $5 hosts by blanks, or null: as they are
select meshhook_engine.set_secret($1::uuid, $2, $3, $4,
  case when $5 = '' then '{}' else string_to_array($5, ' ') end)::text as id
