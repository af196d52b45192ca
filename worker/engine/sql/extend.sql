select msg_id, vt from meshhook_engine.extend($1, $2, $3)
