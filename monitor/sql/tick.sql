-- $1 who asks, $2 ms to lead, $3 ms of log lag or null, $4 alert channels that are left alone; config: the
-- version of rules and channels; failed: there are failed runs to tell of; watched: somebody's health is
select fence, at, metric, project, label, label_value, value, config, failed, watched
from meshhook_engine.tick($1, $2 * interval '1 millisecond', $3 / 1000::float8, $4),
  (select meshhook_engine.alert_version() as config, meshhook_engine.failed_waiting() as failed,
    meshhook_engine.health_watched() as watched offset 0) v
