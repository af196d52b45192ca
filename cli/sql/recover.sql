-- Every channel that may go on begins a new epoch.
select json_build_object('runs', r.runs, 'channels', r.channels)::text as record
from meshhook_engine.recover() r
