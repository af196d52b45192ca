-- Wakes idle workers; nothing is lost if it is, so it waits for no fsync.
select set_config('synchronous_commit', 'off', true), pg_notify('meshhook_work', '');
