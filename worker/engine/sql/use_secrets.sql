-- $1 projects, $2 names, $3 the runs that send them now, or nulls
select project_id, name, version, is_current, hosts, sealed
from meshhook_engine.use_secrets($1, $2, $3)
