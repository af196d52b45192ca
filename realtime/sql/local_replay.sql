-- $1 topic, $2 ms since 1970, $3 how many at most: the newest, oldest first
select id, event, payload, binary_payload from (
	select m.id::text as id, m.event, m.payload, m.binary_payload, m.inserted_at
	from realtime.messages m
	where m.topic = $1 and m.private and m.extension = 'broadcast' and m.event is not null
	  and m.inserted_at >= to_timestamp($2::bigint / 1000.0) at time zone 'utc'
	order by m.inserted_at desc, m.id desc
	limit $3
) newest
order by inserted_at, id;
