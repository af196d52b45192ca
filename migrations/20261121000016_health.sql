-- Health of what tells of health: the way of a log line (the canary), the way of a message about
-- alerts, what members see live of their project's health, and failed runs of one workflow.

-- The canary ---------------------------------------------------------------------------------

create function meshhook_engine.canary_id() returns uuid
language sql immutable parallel safe
return '00000000-0000-7000-8000-63616e617279'::uuid;
comment on function meshhook_engine.canary_id() is 'The id of the canary''s project, of its channel and of its reader.';

-- A project of the installation's own, made when a monitor first asks for it. Its one member is
-- nobody: the monitor follows its one channel as that user, so that its lines go the way of all
-- lines, through row-level security and the gateway's limits.
create function meshhook_engine.canary(p_fence bigint, p_write boolean)
returns table (id uuid, seq bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_id constant uuid := meshhook_engine.canary_id();
  v_kept constant int := 100; -- lines
  v_seq bigint;
begin
  perform meshhook_engine.check_fence(p_fence);
  perform set_config('synchronous_commit', 'off', true); -- losing one costs a measurement
  if not exists (select from meshhook.channels c where c.id = v_id) then
    insert into meshhook.projects (id, slug, name)
      values (v_id, 'meshhook-canary', 'MeshHook: how long a log line takes') on conflict do nothing;
    insert into meshhook.members (project_id, user_id, role) values (v_id, v_id, 'viewer') on conflict do nothing;
    insert into meshhook.channels (id, project_id, service) values (v_id, v_id, 'canary') on conflict do nothing;
  end if;
  if not p_write then
    return query select v_id, null::bigint;
    return;
  end if;
  update meshhook.channels c set last_seq = c.last_seq + 1 where c.id = v_id returning c.last_seq into v_seq;
  insert into meshhook.logs (channel_id, seq, project_id, level, message) values (v_id, v_seq, v_id, 1, 'canary');
  if v_seq % v_kept = 0 then
    delete from meshhook.logs l where l.channel_id = v_id and l.seq <= v_seq - v_kept;
  end if;
  return query select v_id, v_seq;
end $$;
comment on function meshhook_engine.canary(bigint, boolean) is
  'The leading monitor''s own line in logs:canary:{id}, which it reads back as user {id}: id, and the line''s number if one was written. The last 100 to 200 lines are kept.';

-- Health, live -------------------------------------------------------------------------------

create index watched_health on meshhook_engine.watched (channel_id) where kind = 'health';

create function meshhook_engine.health(p_project uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('at', t.at, 'data', coalesce((select m.data from meshhook.queue_metrics m
           where m.project_id = p_project and m.at = t.at), '{}'))
    from (select m.at from meshhook.queue_metrics m where m.project_id is null
             and m.at > clock_timestamp() - interval '1 minute' order by m.at desc limit 1) t
$$;
comment on function meshhook_engine.health(uuid) is
  'A project''s metrics at the newest tick: {at, data}; data is empty where the project had no news for an hour. Null: nobody measured within a minute.';

create function meshhook_engine.health_watched() returns boolean
language sql stable security definer set search_path = '' set enable_seqscan = off as $$
  select exists (select from meshhook_engine.watched w where w.kind = 'health' and w.until > clock_timestamp())
$$;
comment on function meshhook_engine.health_watched() is 'Whether anybody watches a project''s health now.';

-- In a tick's transaction, last: it waits for nobody.
create function meshhook_engine.broadcast_health() returns void
language plpgsql set search_path = '' as $$
begin
  if not meshhook_engine.health_watched() then
    return;
  end if;
  with quiet as (
    select w.channel_id from meshhook_engine.watched w
     where w.kind = 'health' and w.due_at is null and w.until > clock_timestamp()
     order by w.channel_id for no key update skip locked)
  update meshhook_engine.watched w
     set due_at = greatest(clock_timestamp(), w.sent_at + l.interval_ms * interval '1 millisecond')
    from quiet, meshhook_engine.live l where w.channel_id = quiet.channel_id;
end $$;
comment on function meshhook_engine.broadcast_health() is
  'Part of tick(): the health of projects whose health is watched is due; flush_broadcasts() sends it, within the budget.';

-- Channels that fail -------------------------------------------------------------------------

create index outbox_waiting on meshhook.outbox (channel_id, created_at) where state in ('queued', 'sending');
create index outbox_dead on meshhook.outbox (channel_id, ended_at) where state = 'dead';

create function meshhook_engine.probe_delivery(p_now timestamptz, p_broken uuid[])
returns table (metric text, project uuid, label text, label_value text, value float8)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
    select 'delivery_failing', c.project_id, 'channel', c.name, greatest(
        (c.id = any (p_broken))::int,
        (select count(*) from (select from meshhook.outbox o where o.channel_id = c.id
            and o.state in ('queued', 'sending') and o.created_at < p_now - interval '5 minutes' limit 1000) x)
        + (select count(*) from (select from meshhook.outbox o where o.channel_id = c.id and o.state = 'dead'
            and o.ended_at > p_now - interval '1 hour' and o.kind <> 'test' limit 1000) x))::float8
      from meshhook.alert_channels c where c.enabled;
end $$;
comment on function meshhook_engine.probe_delivery is
  'By channel: messages undelivered for over 5 minutes, and those given up within an hour (tests aside); at least 1 for those in p_broken, which are left alone after failures in a row.';

-- Failed runs of one workflow ----------------------------------------------------------------

-- A run that fails while a rule is about its workflow is added here, in the transaction in which
-- it fails: whoever takes it from here misses none, in whatever order transactions commit.
create table meshhook_engine.failed_runs (
  run_id uuid primary key,
  project_id uuid not null,
  workflow_id uuid not null,
  at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.02);
comment on table meshhook_engine.failed_runs is 'Failed runs of workflows that rules are about, until the monitor takes them.';

-- From there to each channel that is to be told, and from here to its next message.
create table meshhook_engine.failed_untold (
  rule_id uuid not null references meshhook.alert_rules on delete cascade,
  channel_id uuid not null references meshhook.alert_channels on delete cascade,
  run_id uuid not null,
  at timestamptz not null,
  primary key (rule_id, channel_id, run_id)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index failed_untold_channel on meshhook_engine.failed_untold (channel_id);
comment on table meshhook_engine.failed_untold is 'Failed runs that a channel''s next message about a rule is to tell of.';

create table meshhook_engine.failed_groups (
  rule_id uuid not null references meshhook.alert_rules on delete cascade,
  channel_id uuid not null references meshhook.alert_channels on delete cascade,
  due_at timestamptz,
  sent_at timestamptz not null default '-infinity',
  primary key (rule_id, channel_id)
);
create index failed_groups_due on meshhook_engine.failed_groups (due_at) where due_at is not null;
comment on table meshhook_engine.failed_groups is 'When a channel was last told of a rule''s failed runs, and when it is to be told again.';

create index alert_rules_workflow on meshhook.alert_rules (workflow_id) where workflow_id is not null;

create function meshhook_engine.rule_of_runs() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_name text := (regexp_match(new.expr, '^\s*runs_failed\s*\{\s*workflow\s*=\s*"([^"]*)"\s*\}\s*$'))[1];
begin
  new.workflow_id := null;
  if v_name is not null and new.project_id is not null then
    select w.id into new.workflow_id from meshhook.workflows w
     where w.project_id = new.project_id and w.name = v_name;
    if not found then
      raise exception 'no workflow "%" in this project', v_name using errcode = 'PT404';
    end if;
  elsif new.expr ~ '\yruns_failed\y' then
    raise exception 'runs_failed stands alone, as runs_failed{workflow="NAME"}, in a rule of a project'
      using errcode = 'invalid_parameter_value', hint = 'a project''s failed runs are counted by runs_failed_total';
  end if;
  return new;
end $$;
comment on function meshhook_engine.rule_of_runs() is
  'Trigger: a rule whose condition is runs_failed{workflow="NAME"} is about each failed run of that workflow.';
create trigger rule_of_runs before insert or update of expr, project_id on meshhook.alert_rules
  for each row execute function meshhook_engine.rule_of_runs();

create function meshhook_engine.note_failed(p_run uuid[]) returns void
language sql set search_path = '' as $$
  insert into meshhook_engine.failed_runs (run_id, project_id, workflow_id)
    select r.id, r.project_id, r.workflow_id from meshhook.runs r
     where r.id = any (p_run) and exists (select from meshhook.alert_rules a
       where a.workflow_id = r.workflow_id and a.enabled)
$$;
comment on function meshhook_engine.note_failed(uuid[]) is
  'Part of commit(): notes these runs, which failed, where a rule is about their workflow.';

-- {{ name }} for what it stands; what isn't known is left out. What is put in is not looked at.
create function meshhook_engine.filled(p_text text, p_names jsonb) returns text
language sql immutable set search_path = '' as $$
  select left(string_agg(t.part || coalesce(p_names ->> m.name[1], ''), '' order by t.n), 2000)
    from regexp_split_to_table(p_text, '\{\{[^{}]*\}\}') with ordinality t(part, n)
    left join regexp_matches(p_text, '\{\{\s*([^{}]*?)\s*\}\}', 'g') with ordinality m(name, n) using (n)
$$;
comment on function meshhook_engine.filled is 'A template of a rule, as monitor/judge-message.c fills it.';

create function meshhook_engine.failed_labels(p_run uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_strip_nulls(jsonb_build_object('workflow', w.name, 'run', r.id,
           'step', left(r.error ->> 'step', 100), 'code', left(r.error ->> 'code', 100)))
    from meshhook.runs r join meshhook.workflows w on w.id = r.workflow_id where r.id = p_run
$$;
comment on function meshhook_engine.failed_labels(uuid) is 'The labels of an alert about a failed run: workflow, run, step, code.';

-- What a message says of one run, in the shape of monitor/judge-message.c, with the run, its step
-- and its error beside. Nothing, if the run was removed meanwhile.
create function meshhook_engine.failed_alert(p_rule uuid, p_run uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('id', r.id, 'rule', a.name, 'severity', a.severity, 'status', 'firing',
      'project', p.slug, 'labels', l.labels, 'value', 1, 'since', t.at, 'fired_at', t.at, 'resolved_at', null,
      'summary', meshhook_engine.filled(coalesce(nullif(a.summary, ''), case when l.labels ? 'step'
        then 'A run of {{ labels.workflow }} failed at step {{ labels.step }}: {{ labels.code }}'
        else 'A run of {{ labels.workflow }} failed' end), n.names),
      'description', concat_ws(E'\n', nullif(meshhook_engine.filled(a.description, n.names), ''),
        left(r.error ->> 'message', 500)),
      'runbook', a.runbook, 'run', r.id, 'workflow', l.labels ->> 'workflow', 'step', l.labels ->> 'step',
      'error', jsonb_strip_nulls(jsonb_build_object('code', l.labels ->> 'code',
        'message', left(r.error ->> 'message', 500))))
    from meshhook.alert_rules a join meshhook.runs r on r.id = p_run
    join meshhook.projects p on p.id = r.project_id,
    lateral (select meshhook_engine.failed_labels(r.id) as labels) l,
    lateral (select to_char(r.ended_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at) t,
    lateral (select jsonb_build_object('value', 1, 'project', p.slug, 'rule', a.name) || coalesce((
        select jsonb_object_agg('labels.' || x.key, x.value) from jsonb_each(a.labels || l.labels) x), '{}') as names) n
   where a.id = p_rule
$$;
comment on function meshhook_engine.failed_alert(uuid, uuid) is
  'A failed run as a message about its rule tells of it: its step, its error (masked when it was recorded, cut to 500 characters).';

-- Whether nobody wants to hear of it: a silence, or an alert that speaks for the rule.
create function meshhook_engine.failed_muted(p_rule meshhook.alert_rules, p_labels jsonb) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from meshhook.silences s
      where now() >= s.starts_at and now() < s.ends_at and coalesce(s.project_id, p_rule.project_id) = p_rule.project_id
        and coalesce(s.rule, p_rule.name) = p_rule.name
        and s.labels <@ (p_rule.labels || p_labels || jsonb_build_object('rule', p_rule.name,
          'severity', p_rule.severity, 'project', p_rule.project_id)))
    or exists (select from meshhook.alert_rules r join meshhook.alerts a on a.rule_id = r.id
      where r.name = any (p_rule.inhibited_by) and a.state = 'firing'
        and coalesce(a.project_id, p_rule.project_id) = p_rule.project_id)
$$;
comment on function meshhook_engine.failed_muted is 'Whether an alert of this rule with these labels is silenced or inhibited now.';

-- What failed, to the history and to the channels that are to be told.
create function meshhook_engine.failed_spread() returns void
language sql set search_path = '' as $$
  with gone as (
    delete from meshhook_engine.failed_runs f where f.run_id = any (array(
      select x.run_id from meshhook_engine.failed_runs x limit 1000 for update skip locked)) returning f.*),
  failed as materialized (
    select g.run_id, g.at, r as rule, meshhook_engine.failed_labels(g.run_id) as labels
      from gone g join meshhook.alert_rules r on r.workflow_id = g.workflow_id and r.enabled
      join meshhook.runs n on n.id = g.run_id),
  told as (
    insert into meshhook.alert_history (at, project_id, alert_id, rule, change, severity, labels, value)
    select f.at, (f.rule).project_id, f.run_id, (f.rule).name, 'firing', (f.rule).severity, f.labels, 1
      from failed f order by f.at),
  untold as (
    insert into meshhook_engine.failed_untold (rule_id, channel_id, run_id, at)
    select (f.rule).id, c.id, f.run_id, f.at
      from failed f join meshhook.alert_channels c on c.enabled
       and coalesce(c.project_id, (f.rule).project_id) = (f.rule).project_id
       and array_position('{info,warning,critical}'::text[], c.min_severity)
           <= array_position('{info,warning,critical}'::text[], (f.rule).severity)
     where not meshhook_engine.failed_muted(f.rule, f.labels)
    returning rule_id, channel_id)
  insert into meshhook_engine.failed_groups as g (rule_id, channel_id, due_at)
    select distinct u.rule_id, c.id, now() + c.wait_ms * interval '1 millisecond'
      from untold u join meshhook.alert_channels c on c.id = u.channel_id
  on conflict (rule_id, channel_id) do update set due_at = coalesce(g.due_at, greatest(excluded.due_at,
    g.sent_at + (select c.interval_ms from meshhook.alert_channels c where c.id = g.channel_id)
      * interval '1 millisecond'))
$$;
comment on function meshhook_engine.failed_spread() is
  'Part of tell_failed(): up to 1,000 runs that failed, into the history of alerts, and to each channel that their rules speak to.';

-- A message for each channel and rule that is due, of all that is untold: 100 by name, the rest by
-- its number. group_by says nothing here: a rule's failed runs are a group.
create function meshhook_engine.failed_tell(p_fence bigint) returns int
language plpgsql set search_path = '' as $$
declare
  v_named constant int := 100;
  v_group record; v_runs uuid[]; v_alerts jsonb; v_key jsonb;
  v_told int := 0;
begin
  for v_group in
    select g.rule_id, g.channel_id, r.name, r.project_id, r.enabled
      from meshhook_engine.failed_groups g join meshhook.alert_rules r on r.id = g.rule_id
     where g.due_at <= clock_timestamp() order by g.due_at limit 50
  loop
    with gone as (
      delete from meshhook_engine.failed_untold u
       where u.rule_id = v_group.rule_id and u.channel_id = v_group.channel_id returning u.run_id, u.at)
    select array_agg(g.run_id order by g.at, g.run_id) into v_runs from gone g;
    update meshhook_engine.failed_groups g set due_at = null, sent_at = clock_timestamp()
     where g.rule_id = v_group.rule_id and g.channel_id = v_group.channel_id;
    select jsonb_agg(x.alert order by x.n) into v_alerts
      from (select n, meshhook_engine.failed_alert(v_group.rule_id, t.run) as alert
              from unnest(v_runs[:v_named]) with ordinality t(run, n)) x where x.alert is not null;
    continue when v_alerts is null or not v_group.enabled;
    v_key := jsonb_build_object('rule', v_group.name, 'project', v_group.project_id);
    insert into meshhook.outbox (channel_id, project_id, group_key, dedup_key, kind, body, fence)
    values (v_group.channel_id, v_group.project_id, v_key::text, v_group.channel_id || ':' || v_key, 'new',
      jsonb_build_object('kind', 'new', 'status', 'firing', 'group', v_key, 'alerts', v_alerts,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'more', greatest(cardinality(v_runs) - v_named, 0)), p_fence);
    v_told := v_told + 1;
  end loop;
  return v_told;
end $$;
comment on function meshhook_engine.failed_tell(bigint) is
  'Part of tell_failed(): messages about failed runs that are due, into the outbox; how many.';

create function meshhook_engine.failed_waiting() returns boolean
language sql stable security definer set search_path = ''
begin atomic
  select exists (select from meshhook_engine.failed_runs)
    or exists (select from meshhook_engine.failed_groups g where g.due_at <= clock_timestamp());
end;
comment on function meshhook_engine.failed_waiting() is 'Whether tell_failed() has anything to do.';

create function meshhook_engine.tell_failed(p_fence bigint) returns int
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  perform from meshhook.alert_rules r where r.workflow_id is not null order by r.id for key share;
  perform from meshhook.alert_channels c order by c.id for key share;
  perform meshhook_engine.failed_spread();
  return meshhook_engine.failed_tell(p_fence);
end $$;
comment on function meshhook_engine.tell_failed(bigint) is
  'Make messages of the failed runs that rules are about: what was told is forgotten in the transaction that records the message. How many messages. MH002: another monitor leads.';
