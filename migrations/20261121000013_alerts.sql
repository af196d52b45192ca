-- Alerts: rules are rows, so are the alerts that they raised, whom to tell, and every message on
-- its way. The monitor that leads decides (monitor/rule, pure) and records each step in one
-- transaction, with its fence; nothing is sent that isn't recorded first.

-- A rule. project_id null: the installation's, seen by service_role. expr: monitor/rule/cond.h.
-- Texts may hold {{ value }}, {{ labels }}, {{ labels.NAME }}, {{ project }} and {{ rule }}.
create table meshhook.alert_rules (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid references meshhook.projects on delete cascade,
  name text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  expr text not null check (length(expr) between 1 and 2000),
  hold_s int not null default 0 check (hold_s between 0 and 86400),
  keep_s int not null default 0 check (keep_s between 0 and 86400),
  severity text not null default 'warning' check (severity in ('info', 'warning', 'critical')),
  labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object' and octet_length(labels::text) <= 1000),
  summary text not null default '' check (length(summary) <= 500),
  description text not null default '' check (length(description) <= 4000),
  runbook text not null default '' check (length(runbook) <= 500),
  inhibited_by text[] not null default '{}' check (cardinality(inhibited_by) <= 16
    and octet_length(array_to_string(inhibited_by, '')) <= 1000),
  enabled boolean not null default true,
  problem text,
  created_at timestamptz not null default now(),
  workflow_id uuid references meshhook.workflows on delete cascade,
  unique nulls not distinct (project_id, name)
);
comment on table meshhook.alert_rules is 'What to raise an alert about; project_id is null for the installation''s own.';
comment on column meshhook.alert_rules.hold_s is 'For so long the condition holds before it fires.';
comment on column meshhook.alert_rules.keep_s is 'For so long it no longer holds before it resolves.';
comment on column meshhook.alert_rules.inhibited_by is 'Names of rules whose firing alert of the same project speaks for this one''s.';
comment on column meshhook.alert_rules.workflow_id is 'Each failed run of it is told of; expr says so. Null: the rule has a condition.';
comment on column meshhook.alert_rules.problem is 'Why the monitor can''t evaluate it; null: it can.';

create table meshhook.alerts (
  id uuid primary key,
  rule_id uuid not null references meshhook.alert_rules on delete cascade,
  project_id uuid,
  labels jsonb not null,
  state text not null check (state in ('pending', 'firing', 'resolved')),
  value float8 not null,
  since timestamptz not null,
  fired_at timestamptz,
  resolved_at timestamptz,
  acked_at timestamptz,
  acked_by text,
  note text check (length(note) <= 1000)
) with (fillfactor = 80);
create index alerts_open on meshhook.alerts (rule_id) where state <> 'resolved';
create index alerts_project on meshhook.alerts (project_id, since desc);
comment on table meshhook.alerts is 'An alert: one element of a rule''s condition, from when it began to hold.';

create table meshhook.alert_history (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  project_id uuid,
  alert_id uuid not null,
  rule text not null,
  change text not null check (change in ('pending', 'firing', 'resolved', 'forgotten', 'acknowledged')),
  severity text not null,
  labels jsonb not null,
  value float8,
  actor text
);
create index alert_history_project on meshhook.alert_history (project_id, at desc);
create index alert_history_alert on meshhook.alert_history (alert_id);
comment on table meshhook.alert_history is 'Every change of every alert; append-only.';

-- Mute what matches: the rule's name, and labels, all of those that are given.
create table meshhook.silences (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid references meshhook.projects on delete cascade,
  rule text check (length(rule) <= 63),
  labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object' and octet_length(labels::text) <= 1000),
  starts_at timestamptz not null default now(),
  ends_at timestamptz not null,
  comment text not null default '' check (length(comment) <= 500),
  created_by text not null default coalesce(auth.uid()::text, current_user),
  check (ends_at > starts_at)
);
create index silences_now on meshhook.silences (ends_at);
comment on table meshhook.silences is 'Alerts that nobody wants to hear of for a while; project_id is null for all projects.';

-- Whom to tell. sealed: the target with its secrets, under the intake key, bound to the channel's
-- id; the database never sees it. target: what of it may be shown.
create table meshhook.alert_channels (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid references meshhook.projects on delete cascade,
  name text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  kind text not null check (kind in ('slack', 'pagerduty', 'alertmanager', 'webhook', 'discord', 'email')),
  target text not null,
  min_severity text not null default 'warning' check (min_severity in ('info', 'warning', 'critical')),
  group_by text[] not null default '{rule}' check (cardinality(group_by) <= 4
    and octet_length(array_to_string(group_by, '')) <= 128),
  wait_ms int not null default 0 check (wait_ms between 0 and 3600000),
  interval_ms int not null default 60000 check (interval_ms between 0 and 86400000),
  repeat_ms int not null default 14400000 check (repeat_ms between 0 and 604800000),
  per_minute int not null default 30 check (per_minute between 1 and 600),
  enabled boolean not null default true,
  created_at timestamptz not null default now(),
  unique nulls not distinct (project_id, name)
);
comment on table meshhook.alert_channels is 'Where messages about alerts go; project_id is null for those of the whole installation.';
create table meshhook_engine.channel_secrets (
  channel_id uuid primary key references meshhook.alert_channels on delete cascade,
  sealed text not null
);
comment on table meshhook_engine.channel_secrets is 'The channels'' targets with their secrets, sealed under the intake key.';

-- What a group's last message said (monitor/rule/notify.h), and the messages.
create table meshhook_engine.alert_groups (
  channel_id uuid not null references meshhook.alert_channels on delete cascade,
  group_key text not null,
  begun_at timestamptz,
  sent_at timestamptz,
  told uuid[] not null default '{}',
  primary key (channel_id, group_key)
);
comment on table meshhook_engine.alert_groups is 'Groups of alerts that a channel was told of, and which of them it was told fire.';

create table meshhook.outbox (
  id bigint generated always as identity primary key,
  channel_id uuid not null references meshhook.alert_channels on delete cascade,
  project_id uuid,
  group_key text not null,
  dedup_key text not null,
  kind text not null check (kind in ('new', 'repeat', 'test')),
  body jsonb not null,
  state text not null default 'queued' check (state in ('queued', 'sending', 'sent', 'dead')),
  fence bigint not null,
  attempts int not null default 0,
  again boolean not null default false,
  due_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  resent_at timestamptz,
  status int,
  problem text
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index outbox_due on meshhook.outbox (due_at) where state in ('queued', 'sending');
create index outbox_group on meshhook.outbox (channel_id, group_key, id) where state in ('queued', 'sending');
create index outbox_ended on meshhook.outbox (ended_at) where ended_at is not null;
comment on table meshhook.outbox is 'Messages about alerts: recorded before they are sent; those of a group go in their order.';
comment on column meshhook.outbox.again is 'It may have arrived before: its sender was lost, or heard nothing.';
comment on column meshhook.outbox.resent_at is 'When it was last queued again after it had been given up; it is tried anew from then.';
comment on column meshhook.outbox.problem is 'Why the last attempt failed; of a dead one, why it was given up.';

-- Rules, channels, silences and projects have a version, so that the monitor knows when to read
-- them again. It moves when a transaction commits, not before: who reads both in one snapshot never
-- takes old rows for the new version. The lock is held from there to the end of the commit.
create table meshhook_engine.alert_config (
  one boolean primary key default true check (one),
  version bigint not null default 1,
  moved_by xid8
);
comment on table meshhook_engine.alert_config is 'The version of rules, channels, silences and projects: one row.';
insert into meshhook_engine.alert_config default values;
create function meshhook_engine.alert_config_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update meshhook_engine.alert_config set version = version + 1, moved_by = pg_current_xact_id()
   where moved_by is distinct from pg_current_xact_id();
  return null;
end $$;
comment on function meshhook_engine.alert_config_changed() is 'Trigger: the monitor is to read rules, channels and silences again.';

-- What is no longer looked at fires no more.
create function meshhook_engine.rule_disabled() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform from meshhook.alerts a where a.rule_id = new.id and a.state <> 'resolved' order by a.id for update;
  with over as (
    update meshhook.alerts a set state = 'resolved', resolved_at = now()
     where a.rule_id = new.id and a.state <> 'resolved' returning a.*)
  insert into meshhook.alert_history (at, project_id, alert_id, rule, change, severity, labels, value, actor)
    select now(), o.project_id, o.id, new.name, 'resolved', new.severity, o.labels, o.value, meshhook_engine.actor()
      from over o;
  return null;
end $$;
comment on function meshhook_engine.rule_disabled() is 'Trigger: the alerts of a rule that is switched off resolve.';
create trigger rule_disabled after update of enabled on meshhook.alert_rules
  for each row when (old.enabled and not new.enabled) execute function meshhook_engine.rule_disabled();

-- The monitor reads all of them, of all projects: none may fill it.
create function meshhook_engine.few_enough() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_n int;
begin
  if new.project_id is null then
    return null;
  end if;
  if tg_table_name = 'silences' then -- those that are over are not read
    select count(*) into v_n from meshhook.silences s where s.project_id = new.project_id and s.ends_at > now();
  else
    select count(*) into v_n from meshhook.alert_rules r where r.project_id = new.project_id;
  end if;
  if v_n > tg_argv[0]::int then
    raise exception 'a project has at most % of these', tg_argv[0] using errcode = 'program_limit_exceeded';
  end if;
  return null;
end $$;
comment on function meshhook_engine.few_enough() is 'Trigger: a project has so many rules, or silences that are not over, and no more.';
create trigger few_enough after insert on meshhook.alert_rules
  for each row execute function meshhook_engine.few_enough('200');
create trigger few_enough after insert or update of ends_at on meshhook.silences
  for each row execute function meshhook_engine.few_enough('1000');
create index silences_project on meshhook.silences (project_id, ends_at);

-- What the monitor reads and writes -----------------------------------------------------------

create function meshhook_engine.alert_version() returns bigint
language sql stable security definer set search_path = ''
begin atomic
  select version from meshhook_engine.alert_config;
end;
comment on function meshhook_engine.alert_version() is 'Grows with every change of rules, channels and silences.';

-- Text throughout: jsonb of ten thousand rules takes ten times as long.
create function meshhook_engine.alert_load() returns json
language sql stable security definer set search_path = ''
begin atomic
  select json_build_object(
    'version', meshhook_engine.alert_version(),
    'rules', (select coalesce(json_agg(x order by x.id), '[]') from (
      select r.id, r.project_id, r.name, r.expr, r.hold_s, r.keep_s, r.severity, r.labels, r.summary, r.description,
             r.runbook, r.inhibited_by, r.enabled, r.problem
        from meshhook.alert_rules r where r.workflow_id is null) x),
    'channels', (select coalesce(json_agg(x order by x.id), '[]') from (
      select c.id, c.project_id, c.name, c.min_severity, c.group_by, c.wait_ms, c.interval_ms, c.repeat_ms
        from meshhook.alert_channels c where c.enabled) x),
    'silences', (select coalesce(json_agg(x), '[]') from (
      select s.project_id, s.rule, s.labels, s.starts_at, s.ends_at
        from meshhook.silences s where s.ends_at > now()) x),
    'alerts', (select coalesce(json_agg(x order by x.since, x.id), '[]') from (
      select a.id, a.rule_id, a.project_id, a.labels, a.state, a.value, a.since, a.fired_at, a.acked_at
        from meshhook.alerts a where a.state <> 'resolved' or a.id in (
          select unnest(g.told) from meshhook_engine.alert_groups g)) x),
    'projects', (select coalesce(json_object_agg(p.id, p.slug), '{}') from meshhook.projects p),
    'groups', (select coalesce(json_agg(x), '[]') from (
      select g.channel_id, g.group_key, g.begun_at, g.sent_at, g.told from meshhook_engine.alert_groups g) x));
end;
comment on function meshhook_engine.alert_load() is
  'All that the monitor needs to go on where another left off: {version, rules, channels, silences, alerts that are open or whose end was not told, slugs of projects, groups}.';

-- One step, in one transaction: p_changes [{id, rule_id, project_id, labels, state: pending |
-- firing | resolved | forgotten, value, since, fired_at}], p_groups [{channel_id, group_key,
-- begun_at, sent_at, told, gone}], p_messages [{channel_id, project_id, group_key, dedup_key, kind,
-- body}], p_problems [{rule_id, problem}]. at: the tick's time.
create function meshhook_engine.alert_record(p_fence bigint, p_at timestamptz, p_changes jsonb,
  p_groups jsonb, p_messages jsonb, p_problems jsonb default '[]') returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  -- in the lock order: rules, channels, alerts; who removes one of them goes the same way
  perform from meshhook.alert_rules r
   where r.id in (select x.rule_id from jsonb_to_recordset(p_problems || p_changes) x(rule_id uuid))
   order by r.id for no key update;
  perform from meshhook.alert_channels c
   where c.id in (select x.channel_id from jsonb_to_recordset(p_groups || p_messages) x(channel_id uuid))
   order by c.id for key share;
  perform from meshhook.alerts a
   where a.id in (select c.id from jsonb_to_recordset(p_changes) c(id uuid))
   order by a.id for update;
  insert into meshhook.alert_history (at, project_id, alert_id, rule, change, severity, labels, value)
    select p_at, c.project_id, c.id, r.name, c.state, r.severity, c.labels, c.value
      from jsonb_to_recordset(p_changes) c(id uuid, rule_id uuid, project_id uuid, labels jsonb,
             state text, value float8)
      join meshhook.alert_rules r on r.id = c.rule_id;
  delete from meshhook.alerts a using jsonb_to_recordset(p_changes) c(id uuid, state text)
   where a.id = c.id and c.state = 'forgotten';
  insert into meshhook.alerts as a (id, rule_id, project_id, labels, state, value, since, fired_at, resolved_at)
    select c.id, c.rule_id, c.project_id, c.labels, c.state, c.value, c.since, c.fired_at,
           case when c.state = 'resolved' then p_at end
      from jsonb_to_recordset(p_changes) c(id uuid, rule_id uuid, project_id uuid, labels jsonb,
             state text, value float8, since timestamptz, fired_at timestamptz)
      join meshhook.alert_rules r on r.id = c.rule_id
     where c.state <> 'forgotten'
  on conflict (id) do update set state = excluded.state, value = excluded.value,
    fired_at = coalesce(a.fired_at, excluded.fired_at), resolved_at = excluded.resolved_at;
  delete from meshhook_engine.alert_groups g
   using jsonb_to_recordset(p_groups) x(channel_id uuid, group_key text, gone boolean)
   where x.gone and g.channel_id = x.channel_id and g.group_key = x.group_key;
  insert into meshhook_engine.alert_groups as g (channel_id, group_key, begun_at, sent_at, told)
    select x.channel_id, x.group_key, x.begun_at, x.sent_at, array(select jsonb_array_elements_text(x.told)::uuid)
      from jsonb_to_recordset(p_groups) x(channel_id uuid, group_key text, begun_at timestamptz,
             sent_at timestamptz, told jsonb, gone boolean)
      join meshhook.alert_channels c on c.id = x.channel_id
     where x.gone is not true
  on conflict (channel_id, group_key) do update set begun_at = excluded.begun_at,
    sent_at = excluded.sent_at, told = excluded.told;
  insert into meshhook.outbox (channel_id, project_id, group_key, dedup_key, kind, body, fence)
    select m.channel_id, m.project_id, m.group_key, m.dedup_key, m.kind, m.body, p_fence
      from jsonb_to_recordset(p_messages) m(channel_id uuid, project_id uuid, group_key text,
             dedup_key text, kind text, body jsonb)
      join meshhook.alert_channels c on c.id = m.channel_id;
  update meshhook.alert_rules r set problem = x.problem
    from jsonb_to_recordset(p_problems) x(rule_id uuid, problem text)
   where r.id = x.rule_id and r.problem is distinct from x.problem;
end $$;
comment on function meshhook_engine.alert_record is
  'Records a step of the rules: what changed, what groups were told, and the messages to send (the comment above the function has the shapes). MH002: another monitor leads, nothing was written.';

-- Messages that are due, the first of each group: those of a group wait for each other. One that
-- another leader was sending when it was lost is given again, marked as a repeat. p_rooms: how many
-- each of p_channels may start now; p_burst: any other one.
create function meshhook_engine.outbox_take(p_fence bigint, p_qty int, p_lease interval,
  p_channels uuid[] default '{}', p_rooms int[] default '{}', p_burst int default 1000)
returns table (id bigint, channel_id uuid, channel_project uuid, group_key text, dedup_key text,
  kind text, body jsonb, attempts int, again boolean, created_at timestamptz, age_ms bigint,
  channel_kind text, sealed text, per_minute int)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform meshhook_engine.check_fence(p_fence);
  return query
    with first as ( -- by sorting: a planner that doesn't know of a flood yet would compare each with each
      select distinct on (o.channel_id, o.group_key) o.id, o.channel_id, o.due_at
        from meshhook.outbox o join meshhook.alert_channels c on c.id = o.channel_id and c.enabled
       where o.state in ('queued', 'sending') order by o.channel_id, o.group_key, o.id
    ), ranked as (
      select f.id, f.due_at, f.channel_id, row_number() over (partition by f.channel_id order by f.due_at, f.id) as n
        from first f where f.due_at <= clock_timestamp()
    ), due as (
      select r.id from ranked r join meshhook.outbox o on o.id = r.id
       where r.n <= coalesce(p_rooms[array_position(p_channels, r.channel_id)], p_burst)
       order by r.due_at, r.id limit p_qty for no key update of o skip locked)
    update meshhook.outbox o set again = o.again or o.state = 'sending', state = 'sending',
           fence = p_fence, attempts = o.attempts + 1, due_at = clock_timestamp() + p_lease
      from due, meshhook.alert_channels c, meshhook_engine.channel_secrets s
     where o.id = due.id and c.id = o.channel_id and s.channel_id = c.id
    returning o.id, o.channel_id, c.project_id, o.group_key, o.dedup_key, o.kind, o.body, o.attempts,
              o.again, o.created_at,
              (extract(epoch from clock_timestamp() - coalesce(o.resent_at, o.created_at)) * 1000)::bigint,
              c.kind, s.sealed, c.per_minute;
end $$;
comment on function meshhook_engine.outbox_take is
  'Takes messages that are due for p_lease, the first one of each group, as many as their channels may start, with the channel''s sealed target. again: it may arrive twice.';

create function meshhook_engine.outbox_done(p_fence bigint, p_id bigint, p_outcome text, p_status int,
  p_problem text, p_after interval) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.check_fence(p_fence);
  update meshhook.outbox o set status = p_status, problem = left(p_problem, 500),
         state = case p_outcome when 'sent' then 'sent' when 'dead' then 'dead' else 'queued' end,
         due_at = case when p_outcome in ('sent', 'dead') then o.due_at else clock_timestamp() + p_after end,
         attempts = case when p_outcome = 'unsent' then o.attempts - 1 else o.attempts end,
         again = o.again or p_outcome = 'unsure',
         ended_at = case when p_outcome in ('sent', 'dead') then clock_timestamp() end
   where o.id = p_id and o.state = 'sending' and o.fence = p_fence;
end $$;
comment on function meshhook_engine.outbox_done is
  'How sending a message went: sent, dead (given up), later (again after p_after), unsure (the same, and it may have arrived), unsent (nothing left this process). Only for whoever took it.';

create function meshhook_engine.outbox_trim() returns int
language plpgsql security definer set search_path = '' as $$
declare
  v_n int;
begin
  delete from meshhook.outbox where ctid = any (array(select o.ctid from meshhook.outbox o
    where o.ended_at < now() - interval '30 days' limit 1000 for update skip locked));
  get diagnostics v_n = row_count;
  return v_n;
end $$;
comment on function meshhook_engine.outbox_trim() is 'Forget messages that ended over 30 days ago, up to 1,000.';

-- Those of the installation that tell of the project stay, and are kept from being removed meanwhile.
create function meshhook_engine.purge_alerts(p_project uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform from meshhook.alert_rules where project_id = p_project order by id for update;
  perform from meshhook.alert_rules where id in (
    select rule_id from meshhook.alerts where project_id = p_project) order by id for key share;
  perform from meshhook.alert_channels where project_id = p_project order by id for update;
  perform from meshhook.alert_channels where id in (
    select channel_id from meshhook.outbox where project_id = p_project) order by id for key share;
  perform from meshhook.alerts where project_id = p_project order by id for update;
  perform from meshhook.outbox where project_id = p_project order by id for update;
  delete from meshhook.alert_history where project_id = p_project;
  delete from meshhook.alerts where project_id = p_project;
  delete from meshhook.outbox where project_id = p_project;
end $$;
comment on function meshhook_engine.purge_alerts(uuid) is
  'Part of purge_project(): alerts of the project and the messages about them. Its rules and channels go with its row.';

-- What people do ------------------------------------------------------------------------------

-- A message tells of all of its group, so one that a later message of the group overtook stays where
-- it is: it would say what no longer holds.
create function meshhook_engine.resend(p_message bigint, p_channel uuid)
returns table (message bigint, outcome text)
language plpgsql security definer set search_path = '' as $$
begin
  perform from meshhook.outbox o where o.state = 'dead' and (o.id = p_message or o.channel_id = p_channel)
    order by o.id for no key update;
  return query
    with dead as (
      select o.id, exists (select from meshhook.outbox l where l.channel_id = o.channel_id
               and l.group_key = o.group_key and l.id > o.id and l.state = 'sent') as overtaken
        from meshhook.outbox o where o.state = 'dead' and (o.id = p_message or o.channel_id = p_channel)),
    queued as (
      update meshhook.outbox o set state = 'queued', attempts = 0, due_at = clock_timestamp(),
             resent_at = clock_timestamp(), ended_at = null
        from dead d where o.id = d.id and not d.overtaken
      returning o.id, o.project_id, o.channel_id, o.group_key, o.problem),
    noted as (
      insert into meshhook.audit_log (project_id, actor, action, subject, detail)
        select q.project_id, meshhook_engine.actor(), 'alert.resend', q.id::text,
               jsonb_build_object('channel', q.channel_id, 'group', q.group_key, 'problem', q.problem)
          from queued q order by q.id)
    select d.id, case when d.overtaken then 'overtaken' else 'queued' end from dead d order by d.id;
end $$;
comment on function meshhook_engine.resend(bigint, uuid) is
  'Queue a message that was given up again, or all of a channel''s, in their order. overtaken: a later one of its group has arrived, so it stays.';

create function meshhook_engine.acknowledge(p_alert uuid, p_note text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_alert meshhook.alerts;
begin
  update meshhook.alerts a set acked_at = now(), acked_by = meshhook_engine.actor(), note = p_note
   where a.id = p_alert and a.state = 'firing' and a.acked_at is null returning * into v_alert;
  if not found then
    return false;
  end if;
  insert into meshhook.alert_history (at, project_id, alert_id, rule, change, severity, labels, value, actor)
    select now(), v_alert.project_id, v_alert.id, r.name, 'acknowledged', r.severity, v_alert.labels,
           v_alert.value, v_alert.acked_by
      from meshhook.alert_rules r where r.id = v_alert.rule_id;
  return true;
end $$;
comment on function meshhook_engine.acknowledge(uuid, text) is 'acknowledge_alert for whoever may execute it.';

create function meshhook_engine.acknowledge_as_member(p_alert uuid, p_note text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member((select a.project_id from meshhook.alerts a where a.id = p_alert), 'editor');
  return meshhook_engine.acknowledge(p_alert, p_note);
end $$;
comment on function meshhook_engine.acknowledge_as_member(uuid, text) is 'acknowledge_alert for a project''s editors.';

create function meshhook.acknowledge_alert(alert uuid, note text default null) returns boolean
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('meshhook_engine.acknowledge(uuid, text)', 'execute') then
    return meshhook_engine.acknowledge($1, $2);
  end if;
  return meshhook_engine.acknowledge_as_member($1, $2);
end $$;
comment on function meshhook.acknowledge_alert(uuid, text) is
  'Say that somebody sees to a firing alert: it is not repeated, its end is told. False if it doesn''t fire, or was acknowledged before. Editors may.';

-- A channel and its target come together, sealed by who makes it: bound to p_id.
create function meshhook_engine.set_channel(p_id uuid, p_project uuid, p_name text, p_kind text,
  p_target text, p_sealed text, p_min_severity text, p_group_by text[]) returns uuid
language plpgsql security definer set search_path = '' as $$
begin
  insert into meshhook.alert_channels (id, project_id, name, kind, target, min_severity, group_by)
    values (p_id, p_project, p_name, p_kind, p_target, coalesce(p_min_severity, 'warning'), coalesce(p_group_by, '{rule}'));
  insert into meshhook_engine.channel_secrets (channel_id, sealed) values (p_id, p_sealed);
  return p_id;
end $$;
comment on function meshhook_engine.set_channel is
  'Add a channel. p_sealed: its target with its secrets, sealed for p_id; p_target: what of it may be shown.';

-- The rules that ship --------------------------------------------------------------------------

insert into meshhook.alert_rules (name, expr, hold_s, keep_s, severity, summary, description, runbook) values
  ('backlog', 'oldest_age{queue="backlog"} > 5m', 60, 60, 'warning',
   'Work of project {{ project }} has waited {{ value }} s for room in the queue',
   'The project has more work than its window admits, or its workers are slower than what comes in.',
   'docs/monitoring.md#backlog'),
  ('stalled', 'oldest_age{queue="work"} > 1m', 30, 30, 'critical',
   'A step has been ready for {{ value }} s and nobody took it',
   'Workers are gone, hang, or are too few.', 'docs/monitoring.md#stalled'),
  ('no-workers', 'workers_alive{kind="worker"} < 1 and queue_visible > 0', 15, 30, 'critical',
   'No worker has reported for 40 s, and work waits', 'Start workers: meshhook worker.',
   'docs/monitoring.md#no-workers'),
  ('error-spike', 'rate(step_failures_total[5m]) / rate(steps_total[5m]) > 20% and rate(step_failures_total[5m]) > 0.1',
   60, 120, 'warning', 'Of the steps of project {{ project }}, a share of {{ value }} fails',
   'A target answers with errors, or a version was published that can''t work.', 'docs/monitoring.md#error-spike'),
  ('dead-letters', 'increase(runs_abandoned_total[10m]) > 0', 0, 300, 'critical',
   '{{ value }} runs of project {{ project }} were given up by the engine',
   'A message was delivered ten times without progress: each worker that took it died.',
   'docs/monitoring.md#dead-letters'),
  ('timers-late', 'oldest_age{queue="timers"} > 30s', 15, 30, 'warning',
   'Delays and retries are {{ value }} s late', 'Workers fire timers: they are gone or busy.',
   'docs/monitoring.md#timers-late'),
  ('broadcast-failing', 'increase(broadcast_failures_total[5m]) > 0', 0, 300, 'warning',
   'Live logs of project {{ project }} can''t be broadcast', 'realtime.messages refuses rows.',
   'docs/monitoring.md#broadcast-failing'),
  ('xmin-held', 'xmin_age_seconds > 5m or xmin_age > 5000000', 60, 60, 'warning',
   '{{ labels }} keeps the database from removing what is dead',
   'A transaction is open (label session: its pid; end it with select pg_terminate_backend(pid)), a replication slot is'
   ' behind (label slot; drop it with select pg_drop_replication_slot(name) when nobody needs it), or a prepared'
   ' transaction was forgotten (label prepared; rollback prepared ''gid'').', 'docs/monitoring.md#xmin-held'),
  ('slot-idle', 'slot_idle > 0', 300, 60, 'warning', 'Nobody reads the replication {{ labels }}',
   'It keeps write-ahead log for ever: drop it with select pg_drop_replication_slot(name), or start its reader.',
   'docs/monitoring.md#slot-idle'),
  ('disk-growth', 'increase(wal_bytes_total[10m]) > 50GB or delta(database_bytes[30m]) > 20GB', 0, 600, 'warning',
   'The database writes unusually much', 'Look at table_bytes in the metrics for what grows.',
   'docs/monitoring.md#disk-growth'),
  ('partitions', 'partitions_ahead < 1', 600, 60, 'critical', 'No partition of {{ labels.table }} ahead',
   'Workers and the monitor make them: meshhook doctor says why they don''t.', 'docs/monitoring.md#partitions'),
  ('connections', 'pg_connections_used > 85%', 60, 60, 'warning',
   'A share of {{ value }} of the database''s connections is used', 'Use a pooler, or fewer processes.',
   'docs/monitoring.md#connections'),
  ('notify-queue', 'notify_queue > 30%', 60, 60, 'warning', 'The NOTIFY queue is filled to {{ value }}',
   'A session listens and sits in a transaction: see xmin_age_seconds.', 'docs/monitoring.md#notify-queue'),
  ('log-lag', 'log_lag_seconds > 5', 15, 30, 'critical',
   'Lines of live logs take {{ value }} s to those who follow them',
   'The gateway can''t be reached, or doesn''t read the database: the monitor''s log says which.',
   'docs/monitoring.md#log-lag'),
  ('delivery-failing', 'delivery_failing > 0', 0, 0, 'critical',
   'Messages about alerts don''t get to channel {{ labels.channel }}',
   'Its receiver fails or refuses: meshhook alert messages says why. Told to all channels but this one.',
   'docs/monitoring.md#delivery-failing');

-- Immutable and audited -------------------------------------------------------------------------

create trigger immutable before update or delete on meshhook.alert_history
  for each row execute function meshhook_engine.refuse_change();
alter table meshhook.alert_history enable always trigger immutable;
do $$
declare
  t text;
begin
  foreach t in array array['alert_rules', 'alert_channels', 'silences'] loop
    execute format('create trigger audit after insert or update or delete on meshhook.%I'
      ' for each row execute function meshhook_engine.audit()', t);
    execute format('alter table meshhook.%I enable always trigger audit', t);
  end loop;
end $$;
do $$
declare
  t record;
begin
  -- not the columns that the monitor itself writes
  for t in select * from (values ('alert_rules', ' of name, expr, hold_s, keep_s, severity, labels, summary,'
      ' description, runbook, inhibited_by, enabled'), ('alert_channels', ''), ('silences', ''),
      ('projects', ' of slug'), ('alerts', ' of acked_at')) v(name, columns) loop
    execute format('create constraint trigger config_changed after %supdate%s%s on meshhook.%I deferrable initially deferred'
      ' for each row execute function meshhook_engine.alert_config_changed()',
      case when t.name = 'alerts' then '' else 'insert or ' end, t.columns,
      case when t.name = 'alerts' then '' else ' or delete' end, t.name);
  end loop;
end $$;
