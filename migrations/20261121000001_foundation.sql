-- What the tables stand on: schemas, login roles, and ids that sort by time.
-- Runs as the role postgres, which is no superuser on a hosted project.

create extension if not exists pgmq;

create schema meshhook;
comment on schema meshhook is
  'MeshHook, as people and programs see it: exposed to the API, every table under row-level security.';
create schema meshhook_engine;
comment on schema meshhook_engine is
  'MeshHook''s engine: never exposed to the API; its functions are the only way in for the workers.';

-- Roles belong to the whole server and outlive a reset of the database. A
-- password is set by the operator (LOGIN without one admits nobody). What each
-- may do is in the file of rights. Timeouts are above what any call of theirs
-- takes and below what would hold others up; jit costs more than a statement
-- over arrays takes.
do $$
declare
  r record;
begin
  for r in select * from (values
    ('meshhook_worker', 60, '30s', '10s'),
    ('meshhook_gateway', 20, '10s', '5s'),
    ('meshhook_monitor', 10, '30s', '5s')
  ) as t (name, connections, statement_timeout, lock_timeout) loop
    if to_regrole(r.name) is null then
      execute format('create role %I login', r.name);
    end if;
    execute format('alter role %I connection limit %s', r.name, r.connections);
    execute format('alter role %I set statement_timeout = %L', r.name, r.statement_timeout);
    execute format('alter role %I set lock_timeout = %L', r.name, r.lock_timeout);
    execute format('alter role %I set idle_in_transaction_session_timeout = %L', r.name, '30s');
    execute format('alter role %I set jit = off', r.name);
    execute format('alter role %I set search_path = %L', r.name, '');
  end loop;
end
$$;
comment on role meshhook_worker is 'meshhook worker: claims and commits.';
comment on role meshhook_gateway is 'meshhook gateway: takes in webhooks, serves logs.';
comment on role meshhook_monitor is 'meshhook monitor: probes and maintains.';

-- Version 7 by RFC 9562: 48 bits of milliseconds, then random ones. One
-- expression, so that it is inlined; clock_timestamp(), so that the ids of a
-- long transaction still follow one another.
create function meshhook_engine.uuid7() returns uuid
language sql volatile parallel safe
return encode(overlay(uuid_send(gen_random_uuid()) placing int8send(
  floor(date_part('epoch', clock_timestamp()) * 1000)::int8 << 16
  | 28672 | (random() * 4095)::int8) from 1 for 8), 'hex')::uuid;
comment on function meshhook_engine.uuid7() is
  'A fresh UUIDv7 on the database''s clock.';

create function meshhook_engine.uuid7_floor(at timestamptz) returns uuid
language sql immutable strict parallel safe
return (lpad(to_hex(floor(extract(epoch from at) * 1000)::int8), 12, '0') || repeat('0', 20))::uuid;
comment on function meshhook_engine.uuid7_floor(timestamptz) is
  'The lower bound of the UUIDv7 made at this moment or later: a partition''s edge.';

create function meshhook_engine.uuid7_time(id uuid) returns timestamptz
language sql immutable strict parallel safe
return to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::int8 / 1000.0);
comment on function meshhook_engine.uuid7_time(uuid) is
  'When a UUIDv7 was made, to the millisecond.';
