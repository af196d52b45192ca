-- What is due goes to Realtime; when to come again.
select sent, wait_ms from meshhook_engine.flush_broadcasts(p_last => $1)
