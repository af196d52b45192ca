-- $1 role, $2 topic, $3 claims: become the user who asks, for this transaction
select set_config('role', $1, true), set_config('realtime.topic', $2, true),
	set_config('request.jwt.claims', $3, true),
	set_config('request.jwt.claim.sub', coalesce($3::jsonb ->> 'sub', ''), true),
	set_config('request.jwt.claim.role', $1, true),
	set_config('request.headers', '{}', true);
