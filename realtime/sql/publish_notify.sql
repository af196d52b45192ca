-- $1 the channels' ids, by commas, or *; wakes those who tail them, and waits for no fsync
select set_config('synchronous_commit', 'off', true), pg_notify('meshhook_logs', $1);
