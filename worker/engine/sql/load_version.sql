select project_id, workflow, version, definition from meshhook_engine.load_version($1)
