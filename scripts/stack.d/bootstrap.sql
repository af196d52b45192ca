-- What a hosted Supabase project has and a plain server lacks: roles, schemas,
-- default privileges, and just enough of auth and realtime for SQL to meet the
-- same names, owners and refusals. Run as supabase_admin at every start;
-- re-runnable. The role postgres is no superuser, as on a hosted project.
\set ON_ERROR_STOP on
\set QUIET on
set client_min_messages = warning;
begin;

-- Roles ----------------------------------------------------------------------

do $$
declare
	r record;
begin
	for r in select * from (values
		('anon', 'nologin noinherit'),
		('authenticated', 'nologin noinherit'),
		('service_role', 'nologin noinherit bypassrls'),
		('authenticator', 'login noinherit'),
		('api_login', 'login'), -- REST and Auth of this stack log in by it
		('postgres', 'login nosuperuser createdb createrole replication bypassrls'),
		('supabase_auth_admin', 'login noinherit createrole'),
		('supabase_storage_admin', 'login noinherit createrole'),
		('supabase_realtime_admin', 'nologin noinherit'),
		('dashboard_user', 'nologin createdb createrole replication')
	) as t (name, attributes) loop
		if to_regrole(r.name) is null then
			execute format('create role %I %s', r.name, r.attributes);
		else
			execute format('alter role %I %s', r.name, r.attributes);
		end if;
	end loop;
end
$$;

grant anon, authenticated, service_role to authenticator, api_login;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres with admin option;
grant supabase_realtime_admin to postgres;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
-- the schemas that its API serves, as set in a hosted project's API settings
alter role authenticator set pgrst.db_schemas = 'public, meshhook';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_storage_admin set search_path = storage;

grant all on database postgres to postgres with grant option;

-- Schemas and extensions -----------------------------------------------------

create schema if not exists extensions;
create schema if not exists auth authorization supabase_auth_admin;
create schema if not exists storage authorization supabase_storage_admin;
create schema if not exists realtime;
create schema if not exists vault;

create extension if not exists pgcrypto with schema extensions;
create extension if not exists "uuid-ossp" with schema extensions;
create extension if not exists pg_stat_statements with schema extensions;

grant all on schema extensions to postgres with grant option;
grant usage on schema extensions to anon, authenticated, service_role, dashboard_user;
grant all on schema public to postgres with grant option;
grant usage on schema public, auth, storage, realtime to postgres, anon, authenticated, service_role;
grant usage on schema realtime to supabase_realtime_admin;
grant usage on schema storage, vault to postgres, service_role;

-- As hosted projects have had it; newer ones can turn it off, so that no
-- migration may lean on it.
alter default privileges for role postgres in schema public
	grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
	grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
	grant all on sequences to postgres, anon, authenticated, service_role;

-- auth: what the request's token says ----------------------------------------

create or replace function auth.jwt() returns jsonb
language sql stable as $$
	select coalesce(
		nullif(current_setting('request.jwt.claim', true), ''),
		nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;

create or replace function auth.uid() returns uuid
language sql stable as $$
	select coalesce(
		nullif(current_setting('request.jwt.claim.sub', true), ''),
		nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;

create or replace function auth.role() returns text
language sql stable as $$
	select coalesce(
		nullif(current_setting('request.jwt.claim.role', true), ''),
		nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')::text
$$;

create or replace function auth.email() returns text
language sql stable as $$
	select coalesce(
		nullif(current_setting('request.jwt.claim.email', true), ''),
		nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')::text
$$;

alter function auth.jwt() owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;

-- realtime: broadcast from the database --------------------------------------

create table if not exists realtime.messages (
	topic text not null,
	extension text not null,
	payload jsonb,
	event text,
	private boolean default false,
	updated_at timestamp not null default now(),
	inserted_at timestamp not null default now(),
	id uuid not null default gen_random_uuid(),
	binary_payload bytea,
	primary key (id, inserted_at)
) partition by range (inserted_at);
alter table realtime.messages enable row level security;
alter table realtime.messages owner to supabase_realtime_admin;
grant select, insert, update on realtime.messages
	to postgres, anon, authenticated, service_role;

-- Hosted, the Realtime server makes a partition a day and drops old ones.
do $$
declare
	day date;
	name text;
begin
	for day in select (now() at time zone 'utc')::date + n from generate_series(-3, 30) n loop
		name := 'messages_' || to_char(day, 'YYYY_MM_DD');
		if to_regclass('realtime.' || name) is null then
			execute format('create table realtime.%I partition of realtime.messages'
				' for values from (%L) to (%L)', name, day, day + 1);
			execute format('alter table realtime.%I owner to supabase_realtime_admin', name);
		end if;
	end loop;
	for name in select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
		where i.inhparent = 'realtime.messages'::regclass
		  and c.relname < 'messages_' || to_char(now() at time zone 'utc' - interval '3 days', 'YYYY_MM_DD')
	loop
		execute format('drop table realtime.%I', name);
	end loop;
end
$$;

create or replace function realtime.topic() returns text
language sql stable as $$
	select nullif(current_setting('realtime.topic', true), '')::text
$$;

-- As hosted: an error becomes a warning, and the transaction goes on. So what
-- is no object, into which no id can be put, is never sent.
create or replace function realtime.send(payload jsonb, event text, topic text,
	private boolean default true) returns void
language plpgsql as $$
declare
	message_id uuid := gen_random_uuid();
	final_payload jsonb := payload;
begin
	begin
		if not payload ? 'id' then
			final_payload := jsonb_set(payload, '{id}', to_jsonb(message_id));
		end if;
		perform set_config('realtime.topic', topic, true);
		insert into realtime.messages (id, payload, event, topic, private, extension)
		values (message_id, final_payload, event, topic, private, 'broadcast');
	exception when others then
		raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
	end;
end
$$;

-- Tells the gateway's local Realtime endpoint (MESHHOOK_LOCAL_REALTIME=1) which
-- row was inserted. The real Realtime reads the write-ahead log instead, by a
-- replication slot, and has no such trigger: a NOTIFY in a transaction that
-- writes makes all such commits of the database wait for one another, which is
-- of no matter on one developer's machine and the end of a busy server.
create or replace function realtime.notify_inserted() returns trigger
language plpgsql as $$
begin
	perform pg_notify('realtime_messages',
		new.id || ' ' || to_char(new.inserted_at, 'YYYY-MM-DD"T"HH24:MI:SS.US'));
	return null;
end
$$;
alter function realtime.notify_inserted() owner to supabase_realtime_admin;
create or replace trigger notify_inserted after insert on realtime.messages
	for each row execute function realtime.notify_inserted();

create or replace function realtime.broadcast_changes(topic_name text, event_name text,
	operation text, table_name text, table_schema text, new record, old record,
	level text default 'ROW') returns void
language plpgsql as $$
begin
	if level = 'STATEMENT' then
		raise exception 'function can only be triggered for each row, not for each statement';
	end if;
	perform realtime.send(jsonb_build_object(
		'old_record', old, 'record', new, 'operation', operation,
		'table', table_name, 'schema', table_schema), event_name, topic_name);
exception when others then
	raise exception 'Failed to process the row: %', sqlerrm;
end
$$;

grant execute on all functions in schema realtime
	to postgres, anon, authenticated, service_role;

do $$
begin
	if not exists (select from pg_publication where pubname = 'supabase_realtime') then
		create publication supabase_realtime;
	end if;
end
$$;
alter publication supabase_realtime owner to postgres;

-- Event triggers: PostgREST's cache, and the refusals of a hosted project ----

create or replace function extensions.pgrst_ddl_watch() returns event_trigger
language plpgsql as $$
begin
	notify pgrst, 'reload schema';
end
$$;

-- A hosted project lets postgres write policies on realtime.messages and
-- nothing else there. Membership in its owner would allow more.
create or replace function extensions.guard_realtime() returns event_trigger
language plpgsql as $$
declare
	cmd record;
begin
	if current_user <> 'postgres' then
		return;
	end if;
	for cmd in select * from pg_event_trigger_ddl_commands() where schema_name = 'realtime' loop
		raise exception 'must be owner of %', cmd.object_identity
			using errcode = 'insufficient_privilege';
	end loop;
end
$$;

create or replace function extensions.guard_realtime_drop() returns event_trigger
language plpgsql as $$
declare
	gone record;
begin
	if current_user <> 'postgres' then
		return;
	end if;
	for gone in select * from pg_event_trigger_dropped_objects()
		where schema_name = 'realtime' and object_type <> 'policy' and original loop
		raise exception 'must be owner of %', gone.object_identity
			using errcode = 'insufficient_privilege';
	end loop;
end
$$;

do $$
begin
	if not exists (select from pg_event_trigger where evtname = 'pgrst_ddl_watch') then
		create event trigger pgrst_ddl_watch on ddl_command_end
			execute function extensions.pgrst_ddl_watch();
	end if;
	if not exists (select from pg_event_trigger where evtname = 'pgrst_drop_watch') then
		create event trigger pgrst_drop_watch on sql_drop
			execute function extensions.pgrst_ddl_watch();
	end if;
	if not exists (select from pg_event_trigger where evtname = 'guard_realtime') then
		create event trigger guard_realtime on ddl_command_end
			when tag in ('ALTER TABLE', 'CREATE TABLE', 'CREATE INDEX', 'CREATE TRIGGER',
				'CREATE FUNCTION', 'CREATE RULE', 'ALTER FUNCTION')
			execute function extensions.guard_realtime();
	end if;
	if not exists (select from pg_event_trigger where evtname = 'guard_realtime_drop') then
		create event trigger guard_realtime_drop on sql_drop
			execute function extensions.guard_realtime_drop();
	end if;
end
$$;

commit;
