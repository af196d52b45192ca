-- $1 metrics, $2 since when each, $3 from, $4 to
select at, metric, project, label_value, value from meshhook_engine.metric_history($1, $2, $3, $4)
