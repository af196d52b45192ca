select meshhook_engine.metric_days() + meshhook_engine.drop_metric_days() as done
