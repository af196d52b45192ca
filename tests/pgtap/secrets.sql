-- Secrets, kept bodies and rates: what the functions do. Who may is in rights.sql.
\i tests/pgtap/fixture.psql
select no_plan();

create temp table x as select pg_temp.project('test-alpha') as p, pg_temp.project('test-beta') as q,
  (select id from meshhook.endpoints where slug = 'in' and project_id = pg_temp.project('test-alpha')) as e,
  (select id from meshhook.runs where project_id = pg_temp.project('test-alpha') limit 1) as r;

-- Values: one more each time, the one before is kept for a day.
select lives_ok($$select meshhook_engine.set_secret(p, 'TOKEN', 1, 'v1.k1.a.a', '{api.example.com}') from x$$,
  'a secret is made');
select lives_ok($$select meshhook_engine.set_secret(p, 'TOKEN', 2, 'v1.k1.b.b') from x$$, 'and changed');
select throws_ok($$select meshhook_engine.set_secret(p, 'TOKEN', 2, 'v1.k1.c.c') from x$$, '40001', null,
  'not by two at once');
select throws_ok($$select meshhook_engine.set_secret(p, 'TOKEN', 4, 'v1.k1.c.c') from x$$, '40001', null,
  'nor by who skips one');
select throws_ok($$select meshhook_engine.set_secret(p, 'a-b', 1, 'v1.k1.c.c') from x$$, '23514', null,
  'a name is an identifier');
select results_eq($$select name, version, hosts from meshhook.secrets, x where project_id = p and name = 'TOKEN'$$,
  $$values ('TOKEN', 2, '{api.example.com}'::text[])$$, 'its hosts stay');
select results_eq($$select u.name, version, is_current, hosts, sealed from x,
    meshhook_engine.use_secrets(array[p], '{TOKEN}', '{null}') u order by version$$,
  $$values ('TOKEN', 1, false, 'api.example.com', 'v1.k1.a.a'), ('TOKEN', 2, true, 'api.example.com', 'v1.k1.b.b')$$,
  'a worker gets the value, and the one to mask');
select is_empty($$select u.* from x, meshhook_engine.use_secrets(array[q], '{TOKEN}', '{null}') u$$,
  'of its own project');
update meshhook_engine.secret_values set expires_at = now() - interval '1 second' where version = 1 and sealed = 'v1.k1.a.a';
select is((select count(*) from x, meshhook_engine.use_secrets(array[p], '{TOKEN}', '{null}')), 1::bigint,
  'a day later the old one is gone');

-- The record: one row a run and secret, before the value is had.
select is((select count(*) from meshhook.audit_log where action = 'secret.use' and project_id = (select p from x)), 0::bigint, 'asking is no use');
select lives_ok($$select from x, meshhook_engine.use_secrets(array[p, p, p], '{TOKEN,TOKEN,KEY}', array[r, r, null])$$,
  'a step uses one, twice');
select lives_ok($$select from x, meshhook_engine.use_secrets(array[p], '{TOKEN}', array[r])$$, 'and again');
select results_eq($$select subject, detail from meshhook.audit_log where action = 'secret.use' and project_id = (select p from x)$$,
  $$select 'TOKEN', jsonb_build_object('run', r, 'version', 2) from x$$, 'that is one row');
select is_empty($$select from meshhook.audit_log where detail::text like '%v1.k1%'$$, 'without what is sealed');

-- Sealing anew replaces what was read, and nothing else.
select is(meshhook_engine.reseal_secret(id, 2, 'v1.k1.x.x', 'v1.k2.d.d'), false, 'another envelope stays')
  from meshhook.secrets, x where project_id = p and name = 'TOKEN';
select is(meshhook_engine.reseal_secret(id, 2, 'v1.k1.b.b', 'v1.k2.d.d'), true, 'the same is replaced')
  from meshhook.secrets, x where project_id = p and name = 'TOKEN';
select is((select sealed from x, meshhook_engine.use_secrets(array[p], '{TOKEN}', '{null}')), 'v1.k2.d.d', 'for workers, too');

-- Redelivery with another body.
create temp table taken as select i.* from x, meshhook_engine.intake(array[e, e], '{1,1}', '{k,k}', '{"{}","{}"}',
  '{"{}","{}"}', 0, array['\x01'::bytea, '\x02']) i;
select results_eq('select ord, outcome from taken order by ord', $$values (1, 'started'), (2, 'differs')$$,
  'the first body counts, even in one batch');
select is((select count(distinct run_id) from taken), 1::bigint, 'and is one run');
select results_eq($$select l.level, l.attrs ->> 'webhook_id' from meshhook.logs l, taken t where t.ord = 1
    and l.channel_id = t.run_id and l.attrs ->> 'event' = 'webhook.redelivered'$$, $$values (13::smallint, 'k')$$,
  'its log says so');
select is((select outcome from x, meshhook_engine.intake(array[e], '{1}', '{k}', '{"{}"}', '{"{}"}', 0, array['\x02'::bytea])),
  'duplicate', 'what was said is not said again');
select is((select log_seq from meshhook.runs r, taken t where r.id = t.run_id and t.ord = 1),
  (select max(seq)::int from meshhook.logs l, taken t where l.channel_id = t.run_id and t.ord = 1), 'lines are contiguous');

-- A digest in place of an id is good for a day.
create temp table digests as select run_id from x, meshhook_engine.intake(array[e], '{1}', '{sha256:ab}', '{"{}"}', '{"{}"}');
select is((select run_id from x, meshhook_engine.intake(array[e], '{1}', '{sha256:ab}', '{"{}"}', '{"{}"}')),
  (select run_id from digests), 'the same body, the same run');
update meshhook_engine.deliveries set received_at = now() - interval '25 hours' where dedupe_key in ('sha256:ab', 'k');
select isnt((select run_id from x, meshhook_engine.intake(array[e], '{1}', '{sha256:ab}', '{"{}"}', '{"{}"}')),
  (select run_id from digests), 'but not for ever');
select is((select outcome from x, meshhook_engine.intake(array[e], '{1}', '{k}', '{"{}"}', '{"{}"}')), 'duplicate',
  'an id is');

-- Without a secret: only where the endpoint needs none.
select is((select outcome from x, meshhook_engine.intake(array[e], '{0}', '{z}', '{"{}"}', '{"{}"}')), 'disabled',
  'nobody leaves the secret out');
update meshhook.endpoints set scheme = '{"type": "none"}' where id = (select e from x);
select is((select outcome from x, meshhook_engine.intake(array[e], '{0}', '{z}', '{"{}"}', '{"{}"}')), 'started',
  'unless the endpoint says so');
select throws_ok($$update meshhook.endpoints set headers = '{authorization}'$$, '23514', null,
  'no mapping sees Authorization');

-- Bodies.
update meshhook.endpoints set keep_body_days = 2 where id = (select e from x);
create temp table kept as select run_id from x, meshhook_engine.intake(array[e, e], '{0,0}', '{b1,b2}', '{"{}","{}"}',
  '{"{}","{}"}', 0, array['\x01'::bytea, '\x02'], array['\x7b7d'::bytea, null], '{"{\"a\": \"b\"}",null}');
select results_eq($$select body, head, expires_at - received_at from meshhook.webhook_bodies b join kept using (run_id)$$,
  $$values ('\x7b7d'::bytea, '{"a": "b"}'::jsonb, interval '2 days')$$, 'what is to be kept is kept');
update meshhook.webhook_bodies set expires_at = now() - interval '1 second' where run_id in (select run_id from kept);
select is(meshhook_engine.purge_bodies(), 1::bigint, 'and goes when its time is over');

-- Rates.
create temp table leases as select granted, remaining, retry_ms, n from generate_series(1, 4) n, x,
  lateral (select * from meshhook_engine.lease_tokens(e, 4 + 0 * n, 1, 10)) l;
select results_eq('select sum(granted)::int, max(granted), min(remaining) from leases', 'values (10, 4, 0)',
  'the burst, in slices');
select ok((select retry_ms between 1 and 1000 from leases where granted = 0), 'then when to come again');
select is_empty($$select l.granted from meshhook_engine.lease_tokens(gen_random_uuid(), 1, 1, 1) l where l.granted > 0$$,
  'an endpoint that is gone has none');

-- A project's end takes all of it.
select lives_ok($$select meshhook_engine.purge_project(p) from x$$, 'the project is purged');
select is((select count(*) from meshhook.secrets, x where project_id = p)
  + (select count(*) from meshhook.webhook_bodies, x where project_id = p), 0::bigint, 'and its secrets');

select * from finish();
