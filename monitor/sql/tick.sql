-- $1 who asks, $2 ms to lead; config: the version of rules and channels
select fence, at, metric, project, label, label_value, value, config
from meshhook_engine.tick($1, $2 * interval '1 millisecond'),
  (select meshhook_engine.alert_version() as config offset 0) v
