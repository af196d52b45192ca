select pg_notify('meshhook_work', '')
