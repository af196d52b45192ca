-- $1 projects, $2 services, $3 resources or *, $4 since when, $5 whether start_seq is wanted of all,
-- $6 only among these channels, if any; $7 how many at most
select channel_id, project_id, service, resource, epoch, last_seq, final_seq, start_seq, at
from meshhook_engine.channels_under($1, $2, $3, $4, $5, $6)
limit $7;
