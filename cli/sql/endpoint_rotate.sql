-- $1 endpoint, $2 envelope, $3 grace in milliseconds, $4 the version that the envelope is bound to
select meshhook_engine.rotate_endpoint($1::uuid, $2, $3 * interval '1 millisecond', $4) as version
