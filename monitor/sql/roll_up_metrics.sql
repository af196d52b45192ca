select meshhook_engine.roll_up_metrics($1) as done
