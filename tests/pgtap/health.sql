-- The canary, health by topic, channels that fail, and failed runs of one workflow.
\i tests/pgtap/fixture.psql
select no_plan();

update meshhook_engine.leader set holder = '00000000-0000-4000-8000-000000000001', fence = 30,
  until = clock_timestamp() + interval '1 hour';
delete from meshhook.alert_channels;
delete from meshhook_engine.watched;

-- The canary ---------------------------------------------------------------------------------

delete from meshhook_engine.purges where project_id = meshhook_engine.canary_id();
select is((select jsonb_agg(c) from meshhook_engine.canary(30, false) c),
  jsonb_build_array(jsonb_build_object('id', meshhook_engine.canary_id(), 'seq', null)), 'its channel is made, no line');
create temp table before as select last_seq from meshhook.channels where id = meshhook_engine.canary_id();
select is((select seq from meshhook_engine.canary(30, true)), (select last_seq + 1 from before), 'then a line');
select is((select count(seq) from generate_series(1, 300) i, meshhook_engine.canary(30, i > 0)), 300::bigint, 'and many');
select cmp_ok((select count(*) from meshhook.logs where channel_id = meshhook_engine.canary_id()), '<=', 200::bigint, 'few are kept');
select is((select max(seq) from meshhook.logs where channel_id = meshhook_engine.canary_id()), (select last_seq + 301 from before), 'the newest');
select throws_ok($$select * from meshhook_engine.canary(29, true)$$, 'MH002', null, 'who no longer leads writes none');
select is((select string_agg(actor || ' ' || pg_temp.attempt(actor, format('select from meshhook.projects where id = %L',
    meshhook_engine.canary_id())), ', ') from actors where db_role = 'authenticated' and actor in ('owner', 'outsider', 'stranger')),
  'owner 0, outsider 0, stranger 0', 'members of other projects don''t see it');
select is(pg_temp.attempt(actor, format('select from meshhook.logs where channel_id = %L', meshhook_engine.canary_id())), '0',
  actor || ' doesn''t see its lines') from actors where actor in ('owner', 'outsider', 'stranger', 'tokenless');
insert into actors values ('canary', 'authenticated', meshhook_engine.canary_id());
select is(pg_temp.attempt('canary', format('select from meshhook.projects')), '1', 'its reader sees this project');
select is(pg_temp.attempt('canary', format('select * from meshhook_engine.attach(array[%L]) where error is null and channel_id is not null',
  'logs:canary:' || meshhook_engine.canary_id())), '1', 'and follows its channel');
select is(pg_temp.attempt('monitor', 'select * from meshhook_engine.canary(30, true)'), '1', 'a monitor writes it');
select is(pg_temp.attempt('gateway', 'select * from meshhook_engine.canary(30, true)'), '42501', 'nobody else does');

-- Health -------------------------------------------------------------------------------------

create function pg_temp.tick(lag_ float8 default null, broken_ uuid[] default '{}') returns jsonb language sql as $$
  select jsonb_object_agg(coalesce(p.slug || '/', '') || t.metric || coalesce('/' || t.label_value, ''), t.value)
    from meshhook_engine.tick('00000000-0000-4000-8000-000000000001', '1 hour', lag_, broken_) t
    left join meshhook.projects p on p.id = t.project $$;
create temp table seen (id uuid primary key);
create function pg_temp.heard() returns jsonb language sql as $$
  with m as (select * from realtime.messages m where topic like 'mh:%' and not exists (
      select from seen s where s.id = m.id)),
  s as (insert into seen select id from m)
  select coalesce(jsonb_agg(jsonb_build_object('topic', topic, 'event', event, 'payload', payload)), '[]') from m$$;
create function pg_temp.fill() returns void language sql as $$
  delete from meshhook_engine.spent;
  update meshhook_engine.live set tokens = quota * share / 2, refilled_at = clock_timestamp()$$;
create temp table here as select pg_temp.project('test-alpha') as p;
grant select on here to public;

select is(pg_temp.attempt(actor, 'select * from meshhook.watch(''health:test-alpha'')'),
    case when actor in ('owner', 'admin', 'editor', 'viewer', 'service_role') then '1'
         when actor in ('outsider', 'stranger', 'tokenless') then 'PT403' else '42501' end,
    'watch health: ' || actor) from actors where actor <> 'canary';
select is(pg_temp.attempt('service_role', format('select * from meshhook.watch(%L)', c)), 'PT404', c)
  from unnest(array['health:nowhere', 'health:', 'health:test-alpha:x', 'health']) c;
select pg_temp.become('viewer');
select is((select array[meshhook_engine.may_listen('mh:1:health:' || p), meshhook_engine.may_listen('mh:2:health:' || p)]
  from here), '{t,f}', 'members may listen, in this generation');
select pg_temp.become_owner(), pg_temp.become('outsider');
select ok(not meshhook_engine.may_listen('mh:1:health:' || p), 'others may not') from here;
select pg_temp.become_owner();

select ok(pg_temp.tick() ? 'queue_visible', 'a tick');
select pg_temp.heard();
select ok(not meshhook_engine.health_watched(), 'nobody watches');
select pg_temp.fill(), count(*) from meshhook_engine.flush_broadcasts();
select is(pg_temp.heard(), '[]', 'so nothing is sent');
select is((select to_jsonb(w) from meshhook.watch('health:test-alpha') w), jsonb_build_object('topic', 'mh:1:health:' || p,
  'epoch', 0, 'last_seq', null, 'ended', false, 'interval_ms', 50), 'what a watch answers') from here;
select isnt((select channel_id from meshhook_engine.watched), (select p from here), 'it is not the watch of the runs');
select ok(meshhook_engine.health_watched(), 'somebody watches');
select ok(pg_temp.tick() ? 'queue_visible', 'the next tick');
select pg_temp.fill();
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'a message is due');
create temp table m as select pg_temp.heard() as m;
select is((select m #- '{0,payload,at}' #- '{0,payload,data}' from m), jsonb_build_array(jsonb_build_object('topic', 'mh:1:health:' || p,
  'event', 'health', 'payload', jsonb_build_object('channel', 'health:' || p))), 'one') from here;
select is((select m #> '{0,payload,data}' from m), (select data from meshhook.queue_metrics where project_id = pg_temp.project('test-alpha')
  order by at desc limit 1), 'with the newest metrics');
select pg_temp.fill();
select is((select sent from meshhook_engine.flush_broadcasts()), 0, 'one a tick');
update meshhook_engine.live set tokens = -1000, refilled_at = clock_timestamp();
update meshhook_engine.watched set sent_at = sent_at - interval '1 second';
select ok(pg_temp.tick() ? 'queue_visible' and pg_temp.tick() ? 'queue_visible', 'two ticks without budget');
select is((select sent from meshhook_engine.flush_broadcasts()), 0, 'nothing goes beyond it');
select pg_temp.fill();
select is((select sent from meshhook_engine.flush_broadcasts()), 1, 'then one message for both');
select is(pg_temp.heard() #> '{0,payload,at}', (select to_jsonb(max(at)) from meshhook.queue_metrics), 'the newest');
delete from meshhook.counters where project_id = (select p from here);
delete from meshhook_engine.counter_deltas where project_id = (select p from here);
update meshhook_engine.watched set sent_at = sent_at - interval '1 second';
select ok(pg_temp.tick() ? 'queue_visible', 'a tick without news of the project');
select pg_temp.fill(), count(*) from meshhook_engine.flush_broadcasts();
select is(pg_temp.heard() #> '{0,payload,data}', '{}', 'says so');
delete from meshhook.queue_metrics;
update meshhook_engine.watched set due_at = clock_timestamp();
select pg_temp.fill(), count(*) from meshhook_engine.flush_broadcasts();
select is(pg_temp.heard(), '[]', 'nobody measured: nothing to say');

-- Lag, and channels that fail ------------------------------------------------------------------

select is(pg_temp.tick(2.5) -> 'log_lag_seconds', '2.5', 'what the canary measured');
select ok(not pg_temp.tick() ? 'log_lag_seconds', 'not known: no value');
select meshhook_engine.set_channel('00000000-0000-4000-8000-0000000000c1', null, 'ops', 'slack', 'https://a.example', 's', null, null);
select meshhook_engine.set_channel('00000000-0000-4000-8000-0000000000c2', (select p from here), 'ops', 'slack', 'https://a.example', 's', null, null);
create function pg_temp.failing() returns text language sql as $$
  select (t ->> 'delivery_failing/ops') || ' ' || (t ->> 'test-alpha/delivery_failing/ops') from pg_temp.tick() t $$;
select is(pg_temp.failing(), '0 0', 'nothing fails');
select is(pg_temp.tick(null, '{00000000-0000-4000-8000-0000000000c2}') -> 'test-alpha/delivery_failing/ops', '1', 'one that is left alone');
insert into meshhook.outbox (channel_id, group_key, dedup_key, kind, body, fence, created_at, state, ended_at)
  select ('00000000-0000-4000-8000-0000000000c' || c)::uuid, 'g', 'd', kind, '{}', 30, now() - ago, state,
    case when state = 'dead' then now() - ago end
  from (values (1, 'new', '4 minutes'::interval, 'queued'), (2, 'new', '6 minutes', 'queued'), (2, 'new', '7 minutes', 'sending'),
    (2, 'repeat', '30 minutes', 'dead'), (2, 'new', '2 hours', 'dead'), (1, 'test', '1 minute', 'dead'),
    (1, 'new', '1 hour', 'sent')) v(c, kind, ago, state);
select is(pg_temp.failing(), '0 3', 'two that wait for long, and one given up lately; tests aside');
update meshhook.alert_channels set enabled = false where project_id is not null;
select is(pg_temp.failing(), null, 'a channel that is off doesn''t fail');
update meshhook.alert_channels set enabled = true;
delete from meshhook.outbox;

-- A rule about failed runs ----------------------------------------------------------------------

select throws_ok(format('insert into meshhook.alert_rules (project_id, name, expr) values (%L, ''f'', %L)', p, e), c, null, e)
  from here, (values ('runs_failed{workflow="none"}', 'PT404'), ('runs_failed{workflow="lead"} > 1', '22023'),
    ('absent(runs_failed[5m])', '22023')) v(e, c);
select throws_ok($$insert into meshhook.alert_rules (name, expr) values ('f', 'runs_failed{workflow="lead"}')$$, '22023', null,
  'it is a rule of a project');
select lives_ok($$insert into meshhook.alert_rules (name, expr) values ('g', 'rate(runs_failed_total[5m]) > 1')$$, 'a metric of a like name is none');
insert into meshhook.alert_rules (id, project_id, name, expr, severity, labels)
  select '00000000-0000-4000-8000-0000000000f1', p, 'lead-failed', ' runs_failed{ workflow = "lead" } ', 'critical', '{"team": "a"}' from here;
select is((select w.name from meshhook.alert_rules r join meshhook.workflows w on w.id = r.workflow_id where r.name = 'lead-failed'),
  'lead', 'the rule knows its workflow');
select ok(not exists (select from json_array_elements(meshhook_engine.alert_load() -> 'rules') r where r ->> 'name' = 'lead-failed'),
  'there is no condition to judge');

create function pg_temp.run_fails(message_ text default 'no') returns uuid language plpgsql as $$
declare
  v_run uuid := meshhook.start_run('test-alpha', 'lead');
begin
  update meshhook.runs set status = 'failed', ended_at = now(), final_log_seq = 1,
    error = jsonb_build_object('step', 'call', 'code', 'HTTP503', 'message', message_) where id = v_run;
  perform meshhook_engine.note_failed(array[v_run]);
  return v_run;
end $$;
create function pg_temp.told() returns jsonb language sql as $$
  with gone as (delete from meshhook.outbox returning *)
  select jsonb_agg(jsonb_build_object('channel', right(channel_id::text, 2), 'alerts', body -> 'alerts', 'more', body -> 'more',
    'key', group_key) order by channel_id) from gone $$;
create function pg_temp.later(by_ interval) returns void language sql as $$
  update meshhook_engine.failed_groups set due_at = due_at - by_, sent_at = sent_at - by_ $$;

select ok(not meshhook_engine.failed_waiting(), 'nothing failed');
create temp table f as select pg_temp.run_fails('it {{ said }} no') as run;
select is((select jsonb_agg(run_id) from meshhook_engine.failed_runs), (select jsonb_agg(run) from f), 'a failed run is noted');
select meshhook_engine.note_failed(array(select id from meshhook.runs where project_id = pg_temp.project('test-beta')));
select is((select count(*) from meshhook_engine.failed_runs), 1::bigint, 'not one of a workflow that no rule is about');
select ok(meshhook_engine.failed_waiting(), 'there is something to tell');
select throws_ok('select meshhook_engine.tell_failed(29)', 'MH002', null, 'who no longer leads tells nothing');
select is(meshhook_engine.tell_failed(30), 2, 'a message to each channel');
create temp table t as select pg_temp.told() as t;
select is((select t #> '{0,alerts,0}' from t) - '{since,fired_at}'::text[], jsonb_build_object('id', run, 'rule', 'lead-failed',
    'severity', 'critical', 'status', 'firing', 'project', 'test-alpha', 'value', 1, 'resolved_at', null, 'runbook', '',
    'labels', jsonb_build_object('workflow', 'lead', 'run', run, 'step', 'call', 'code', 'HTTP503'),
    'summary', 'A run of lead failed at step call: HTTP503', 'description', 'it {{ said }} no', 'run', run, 'workflow', 'lead',
    'step', 'call', 'error', '{"code": "HTTP503", "message": "it {{ said }} no"}'::jsonb),
  'with the run, its step and its error') from f;
select is((select t #>> '{1,channel}' from t), 'c2', 'the project''s own channel, too');
select ok(not meshhook_engine.failed_waiting() and not exists (select from meshhook_engine.failed_untold), 'then nothing is left');
select is((select jsonb_agg(to_jsonb(h) - '{id,at,actor}'::text[]) from meshhook.alert_history h where rule = 'lead-failed'),
  jsonb_build_array(jsonb_build_object('project_id', pg_temp.project('test-alpha'), 'alert_id', run, 'rule', 'lead-failed', 'change', 'firing',
    'severity', 'critical', 'labels', jsonb_build_object('workflow', 'lead', 'run', run, 'step', 'call', 'code', 'HTTP503'), 'value', 1)),
  'it is in the history') from f;

-- Grouped by the channel's interval, and bounded.
select count(pg_temp.run_fails()) from generate_series(1, 150);
select is(meshhook_engine.tell_failed(30), 0, 'within the interval nothing goes');
select ok(not meshhook_engine.failed_waiting(), 'nor is there anything to do until then');
select pg_temp.later('30 s');
select is(meshhook_engine.tell_failed(30), 0, 'not yet');
select pg_temp.later('30 s');
select is(meshhook_engine.tell_failed(30), 2, 'then all of it at once');
update t set t = pg_temp.told();
select is((select jsonb_array_length(t #> '{0,alerts}') from t), 100, '100 by name');
select is((select t #> '{0,more}' from t), '50', 'and the number of the rest');
select is((select count(*) from meshhook.alert_history where rule = 'lead-failed'), 151::bigint, 'each is in the history');
select pg_temp.run_fails(repeat('x', 9999)) as long \gset
select is(length(meshhook_engine.failed_alert('00000000-0000-4000-8000-0000000000f1', :'long') #>> '{error,message}'),
  500, 'an error is cut');
update meshhook.alert_rules set summary = '{{ project }}: {{labels.step}} of {{ labels.workflow }} {{ labels.team }}{{ nothing }} ({{ rule }}, {{ value }})',
  description = 'Look at {{ labels.run }}' where name = 'lead-failed';
select pg_temp.later('1 h'), meshhook_engine.tell_failed(30);
update t set t = pg_temp.told();
select is((select t #>> '{0,alerts,0,summary}' from t), 'test-alpha: call of lead a (lead-failed, 1)', 'a summary of one''s own');
select matches((select t #>> '{0,alerts,0,description}' from t), E'^Look at [0-9a-f-]{36}\nx+$', 'and a description');

-- Who isn't told.
create function pg_temp.who() returns text language sql as $$
  select pg_temp.run_fails();
  select pg_temp.later('1 h');
  select meshhook_engine.tell_failed(30);
  select coalesce((select string_agg(m ->> 'channel', ' ') from jsonb_array_elements(pg_temp.told()) m), '') $$;
select is(pg_temp.who(), 'c1 c2', 'all');
insert into meshhook.silences (project_id, labels, ends_at) select p, '{"step": "other"}', now() + interval '1 h' from here;
select is(pg_temp.who(), 'c1 c2', 'a silence of something else');
insert into meshhook.silences (project_id, rule, labels, ends_at) select p, 'lead-failed', '{"step": "call"}', now() + interval '1 h' from here;
select is(pg_temp.who(), '', 'a silence by a label');
delete from meshhook.silences;
select is(pg_temp.who(), 'c1 c2', 'what was silenced is not told later');
update meshhook.alert_channels set min_severity = 'critical' where project_id is null;
update meshhook.alert_rules set severity = 'warning' where name = 'lead-failed';
select is(pg_temp.who(), 'c2', 'a channel for what is critical');
update meshhook.alert_rules set inhibited_by = '{deep}' where name = 'lead-failed';
select is(pg_temp.who(), '', 'while another alert of the project speaks for it');
update meshhook.alerts set state = 'resolved' where project_id = (select p from here);
select is(pg_temp.who(), 'c2', 'and afterwards');
update meshhook.alert_channels set wait_ms = 60000 where project_id is not null;
delete from meshhook_engine.failed_groups;
select pg_temp.run_fails();
select is(meshhook_engine.tell_failed(30), 0, 'a channel that waits for more');
select pg_temp.later('1 min');
select is(meshhook_engine.tell_failed(30), 1, 'a minute');
update meshhook.alert_rules set enabled = false where name = 'lead-failed';
select is(pg_temp.who(), 'c2', 'what was on its way still comes');
select is(pg_temp.who(), '', 'a rule that is off');
select is((select count(*) from meshhook_engine.failed_runs), 0::bigint, 'notes nothing');
select meshhook.purge_project('test-alpha');
select is((select count(*) from meshhook_engine.failed_groups), 0::bigint, 'a project''s go with it');
select * from finish();
