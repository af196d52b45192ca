-- $1 ids, $2 their times, as the notifications named them, in that order
select m.id::text as id, m.topic, m.event, m.private, m.payload, m.binary_payload
from unnest($1::uuid[], $2::text[]) with ordinality as n (id, at, i)
join realtime.messages m on m.id = n.id and m.inserted_at = n.at::timestamp
where m.event is not null and m.private is not null
order by n.i;
