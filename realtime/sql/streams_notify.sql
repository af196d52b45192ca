-- $1 what other gateways shall do; see stream-peers.c
select pg_notify('meshhook_streams', $1);
