-- $1 who asks, $2 ms to lead
select fence, at, metric, project, label, label_value, value
from meshhook_engine.tick($1, $2 * interval '1 millisecond')
