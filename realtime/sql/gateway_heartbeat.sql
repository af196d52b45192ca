-- $1 id, $2 host, $3 pid, $4 version, $5 draining, $6 what it has counted
select meshhook_engine.heartbeat($1, 'gateway', $2, $3, $4, $5, $6);
