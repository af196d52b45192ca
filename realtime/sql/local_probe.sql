-- $1 id, $2 topic: a row that policies can be asked about, never committed
insert into realtime.messages (id, topic, extension) values ($1, $2, 'broadcast');
