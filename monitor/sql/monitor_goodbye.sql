select meshhook_engine.step_down($1), meshhook_engine.goodbye($1)
