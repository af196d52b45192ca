-- $1 the canary's channel: wakes gateways as whoever writes lines does
select set_config('synchronous_commit', 'off', true), pg_notify('meshhook_logs', $1)
