-- The catalogue, walked: every grant in our schemas is on the one list, grants.allow, and every
-- entry of the list is granted; nothing is open to all; everything says what it is for.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table listed (line text);
\copy listed from 'tests/pgtap/grants.allow' with (format csv, delimiter E'\x01', quote E'\x02')
create temp table allowed as
  select w[1] as grantee, w[2] as kind, w[3] as object, w[4] as privilege
  from listed, string_to_array(regexp_replace(btrim(line), '\s+', ' ', 'g'), ' ') w
  where line !~ '^\s*(#|$)';

create function pg_temp.ours() returns setof oid language sql as
  $$select oid from pg_namespace where nspname in ('meshhook', 'meshhook_engine')$$;

-- acldefault: what a null acl stands for, such as EXECUTE for PUBLIC on a function.
create temp table granted as
with acl as (
  select 'schema' as kind, nspname::text as object, coalesce(nspacl, acldefault('n', nspowner)) as acl, nspowner as owner
  from pg_namespace where oid in (select pg_temp.ours())
  union all
  select case relkind when 'S' then 'sequence' else 'table' end, n.nspname || '.' || c.relname,
    coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner)), relowner
  from pg_class c join pg_namespace n on n.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and (n.oid in (select pg_temp.ours())
    or n.nspname = 'pgmq' and c.relname ~ '^[qa]_mh_')
  union all
  select 'column', n.nspname || '.' || c.relname || '.' || a.attname, a.attacl, c.relowner
  from pg_attribute a join pg_class c on c.oid = attrelid join pg_namespace n on n.oid = relnamespace
  where attacl is not null and (n.oid in (select pg_temp.ours()) or n.nspname = 'pgmq' and c.relname ~ '^[qa]_mh_')
  union all
  select 'function', n.nspname || '.' || proname, coalesce(proacl, acldefault('f', proowner)), proowner
  from pg_proc p join pg_namespace n on n.oid = pronamespace where n.oid in (select pg_temp.ours())
  union all -- a table's own row type can't be granted apart
  select 'type', n.nspname || '.' || typname, coalesce(typacl, acldefault('T', typowner)), typowner
  from pg_type t join pg_namespace n on n.oid = typnamespace
  where n.oid in (select pg_temp.ours()) and typelem = 0
    and (typrelid = 0 or exists (select from pg_class where oid = typrelid and relkind = 'c'))
  union all
  select 'default', coalesce(n.nspname, '*') || '.' || defaclobjtype::text, defaclacl, defaclrole
  from pg_default_acl left join pg_namespace n on n.oid = defaclnamespace
  where n.oid in (select pg_temp.ours())
)
select distinct case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end as grantee,
  kind, object, a.privilege_type || case when a.is_grantable then '*' else '' end as privilege
from acl, aclexplode(acl) a where a.grantee <> owner;

select ok(count(*) > 50, 'the list of grants was read') from allowed;
select is_empty('select grantee, kind, object, privilege from granted except select * from allowed',
  'no grant that is not on the list');
select is_empty('select * from allowed except select grantee, kind, object, privilege from granted',
  'nothing on the list that is not granted');
select is_empty($$select m.roleid::regrole, m.member::regrole from pg_auth_members m
  where m.member in ('meshhook_worker'::regrole, 'meshhook_gateway'::regrole, 'meshhook_monitor'::regrole)
    and not (m.member = 'meshhook_gateway'::regrole and not m.inherit_option and not m.admin_option
      and m.roleid in ('anon'::regrole, 'authenticated'::regrole))
    or m.roleid in ('meshhook_worker'::regrole, 'meshhook_gateway'::regrole, 'meshhook_monitor'::regrole)
      and m.member <> 'postgres'::regrole$$,
  'only the gateway may become somebody (anon or authenticated), and only their creator one of them');
select is_empty($$select rolname from pg_roles where rolname ~ '^meshhook_'
  and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication or rolconnlimit < 0)$$,
  'our login roles have no attribute but LOGIN and a connection limit');

select is_empty($$select oid::regclass from pg_class where relnamespace in (select pg_temp.ours())
  and relkind in ('r', 'p') and not relrowsecurity$$, 'row-level security on every table');
select is_empty($$select oid::regclass from pg_class where relnamespace in (select pg_temp.ours())
  and relkind in ('v', 'm')$$, 'no view, which would answer with its owner''s rights');
select is_empty($$select oid::regprocedure from pg_proc where pronamespace in (select pg_temp.ours())
  and prosecdef and not 'search_path=""' = any (coalesce(proconfig, '{}'))$$,
  'every SECURITY DEFINER function pins an empty search_path');
select is_empty($$select oid::regprocedure from pg_proc where pronamespace in (select pg_temp.ours())
  and prolang <> (select oid from pg_language where lanname = 'c') and prosqlbody is null
  and not 'search_path=""' = any (coalesce(proconfig, '{}'))$$,
  'every function whose names are resolved when it is called pins it, too');
select is_empty($$select p.oid::regprocedure, a.parameter from pg_proc p, unnest(p.proargnames) a (parameter)
  where pronamespace = 'meshhook'::regnamespace and a.parameter ~ '^(p|v)_'$$,
  'what programs call has parameters named for them');
select is_empty($$select proname from pg_proc where pronamespace = 'meshhook'::regnamespace
  group by proname having count(*) > 1$$, 'no overloads, which an RPC by names can''t tell apart');

-- Hot tables: nothing fires and nothing is looked up when a row comes in.
select is_empty($$select tgrelid::regclass, tgname from pg_trigger
  where tgrelid in ('meshhook.runs'::regclass, 'meshhook.steps'::regclass, 'meshhook.run_events'::regclass,
    'meshhook.logs'::regclass, 'meshhook_engine.timers'::regclass, 'meshhook_engine.backlog'::regclass,
    'meshhook_engine.admission'::regclass, 'pgmq.q_mh_work'::regclass)
    and (tgname !~ '^immutable' or tgtype & 4 <> 0)$$, 'no trigger fires for a row that comes in on the hot path');
select is_empty($$select conrelid::regclass, conname from pg_constraint where contype = 'f'
  and conrelid in ('meshhook.runs'::regclass, 'meshhook.steps'::regclass, 'meshhook.run_events'::regclass,
    'meshhook.logs'::regclass, 'meshhook_engine.timers'::regclass, 'meshhook_engine.backlog'::regclass,
    'meshhook_engine.admission'::regclass, 'meshhook_engine.deliveries'::regclass)$$,
  'no foreign key on the hot path');

select ok(obj_description(oid, 'pg_proc') is not null, format('%s says what it is for', oid::regprocedure))
  from pg_proc where pronamespace in (select pg_temp.ours()) order by oid;
select ok(obj_description(oid, 'pg_class') is not null, format('%s says what it is for', oid::regclass))
  from pg_class where relnamespace in (select pg_temp.ours()) and relkind in ('r', 'p') order by oid;

select * from finish();
