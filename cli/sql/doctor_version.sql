select i.version, i.oldest_program from meshhook_engine.schema_info() i
