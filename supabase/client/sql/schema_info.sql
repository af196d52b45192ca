select version, oldest_program from meshhook_engine.schema_info()
