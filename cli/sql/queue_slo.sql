-- $1 project or null: the installation, $2 seconds back, $3 target
select row_to_json(x)::text as record
from meshhook.slo($1, now() - $2 * interval '1 second', $3::text::float8) x
