-- $1 id, $2 project or null, $3 name, $4 kind, $5 what may be shown, $6 envelope
select meshhook_engine.set_channel($1, $2::uuid, $3, $4, $5, $6, null, null)::text as id
