-- The tables. Names without a schema do not occur: search_path is never relied upon.
-- meshhook: what people see, under RLS (rights are in a later file).
-- meshhook_engine: what only the engine sees.

-- A project: the unit of tenancy. window_size bounds its messages in the queue. A slug never
-- looks like an id, since either may name a project (or an endpoint).
create table meshhook.projects (
  id uuid primary key default meshhook_engine.uuid7(),
  slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'
    and slug !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
  name text not null check (length(name) between 1 and 200),
  generation int not null default 1,
  window_size int not null default 1000 check (window_size between 1 and 1000000),
  created_at timestamptz not null default now()
);

create table meshhook.members (
  project_id uuid not null references meshhook.projects on delete cascade,
  user_id uuid not null,
  role text not null check (role in ('owner', 'admin', 'editor', 'viewer')),
  created_at timestamptz not null default now(),
  primary key (project_id, user_id)
);
create index members_user on meshhook.members (user_id);

-- A workflow: its draft is mutable, its versions are not.
create table meshhook.workflows (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null references meshhook.projects on delete cascade,
  name text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  draft jsonb not null,
  published_version int,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (project_id, name)
);

-- plan: what start_run needs, computed from the definition when it was published:
-- {"<trigger id>": {"events": [{"type", "payload"}], "steps": [{"step", "status", "attempt",
-- "waits", "live", "event"}], "messages": [{"n", "a", "k", "i", "o", "j"}], "ends": null |
-- {"status"}}}. "event" and messages carry no run; run.started is event 1 and not in "events".
create table meshhook.versions (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null,
  workflow_id uuid not null references meshhook.workflows on delete cascade,
  version int not null,
  definition jsonb not null,
  plan jsonb not null,
  published_at timestamptz not null default now(),
  published_by uuid,
  unique (workflow_id, version)
);

-- Where a webhook comes in. sealed: the signing secret, encrypted under the intake key.
create table meshhook.endpoints (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null references meshhook.projects on delete cascade,
  workflow_id uuid not null references meshhook.workflows on delete cascade,
  trigger text not null,
  slug text not null check (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'
    and slug !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
  enabled boolean not null default true,
  secret_version int not null default 1,
  max_body_bytes int not null default 1048576 check (max_body_bytes between 1 and 16777216),
  scheme jsonb not null default '{"type": "standard"}'
    check (jsonb_typeof(scheme -> 'type') = 'string' and length(scheme::text) <= 4096),
  keyless boolean not null
    generated always as (scheme ->> 'type' = 'none' or scheme ? 'jwks_url') stored,
  mapping text check (length(mapping) <= 16384),
  headers text[] not null default '{}' check (cardinality(headers) <= 32
    and array_to_string(headers, ' ') ~ '^[a-z0-9_ -]*$' and not headers && '{authorization, cookie,
      proxy-authorization}'),
  rate int check (rate between 1 and 1000000),
  burst int check (burst between 1 and 1000000),
  keep_body_days int check (keep_body_days between 1 and 3650),
  created_at timestamptz not null default now(),
  unique (project_id, slug)
);

create table meshhook_engine.endpoint_secrets (
  endpoint_id uuid not null references meshhook.endpoints on delete cascade,
  secret_version int not null,
  sealed text not null,
  expires_at timestamptz,
  primary key (endpoint_id, secret_version)
);

-- One row a run. Its log channel is logs:run:<project_id>:<id>; log_seq is that channel's
-- counter, moved by the same update as last_seq. No foreign keys on hot tables.
create table meshhook.runs (
  id uuid primary key,
  project_id uuid not null,
  workflow_id uuid not null,
  version_id uuid not null,
  status text not null default 'running'
    check (status in ('running', 'succeeded', 'failed', 'cancelled')),
  trigger text not null,
  last_seq int not null,
  log_seq int not null default 0,
  final_log_seq int,
  log_epoch int not null default (random() * 2147483647)::int,
  priority smallint not null default 0,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  error jsonb
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index runs_project on meshhook.runs (project_id, id desc);
create index runs_workflow on meshhook.runs (workflow_id, id desc);

-- The projection that evolve would fold from the events, a row a step that has one.
create table meshhook.steps (
  run_id uuid not null,
  project_id uuid not null,
  step text collate "C" not null,
  status text not null check (status in
    ('pending', 'scheduled', 'waiting', 'succeeded', 'failed', 'skipped')),
  attempt int not null default 0,
  waits int not null default 0,
  live int not null default 0,
  seq int,
  primary key (run_id, step)
) with (fillfactor = 90);

-- The truth: append-only, contiguous by run. A run's events lie together.
create table meshhook.run_events (
  run_id uuid not null,
  seq int not null check (seq > 0),
  project_id uuid not null,
  type text not null,
  payload jsonb not null,
  ts timestamptz not null default now(),
  primary key (run_id, seq)
) partition by range (run_id);

-- channel_id: the run's id, or the channel's. Levels as OpenTelemetry numbers them:
-- 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal.
create table meshhook.logs (
  channel_id uuid not null,
  seq bigint not null,
  project_id uuid not null,
  ts timestamptz not null default now(),
  level smallint not null,
  message text not null,
  attrs jsonb,
  source text,
  client_ts timestamptz
) partition by range (ts);
create index logs_channel on meshhook.logs (channel_id, seq);

-- Channels that are no run's: logs:{service}:{project_id}:{resource}.
create table meshhook.channels (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null,
  service text not null check (service ~ '^[A-Za-z0-9_.-]{1,64}$' and service <> 'run'),
  resource text not null default '' check (resource ~ '^[A-Za-z0-9_.-]{0,128}$'),
  last_seq bigint not null default 0,
  epoch int not null default (random() * 2147483647)::int,
  created_at timestamptz not null default now(),
  unique (project_id, service, resource)
) with (fillfactor = 50);

-- Lines of a user's own transaction, numbered at its commit.
create table meshhook_engine.staged_logs (
  id bigint generated always as identity primary key,
  project_id uuid not null,
  service text not null check (service ~ '^[A-Za-z0-9_.-]{1,64}$' and service <> 'run'),
  resource text not null check (resource ~ '^[A-Za-z0-9_.-]{0,128}$'),
  ts timestamptz not null default clock_timestamp(),
  level smallint not null,
  message text not null,
  attrs jsonb
) with (autovacuum_vacuum_scale_factor = 0.02);

-- What must wait. message is what enters the queue when it is due.
create table meshhook_engine.timers (
  run_id uuid not null,
  kind text not null,
  step text not null,
  attempt int not null,
  due_at timestamptz not null,
  project_id uuid not null,
  message jsonb not null,
  primary key (run_id, kind, step, attempt)
);
create index timers_due on meshhook_engine.timers (due_at);

-- Work beyond the window, admitted round-robin.
create table meshhook_engine.backlog (
  project_id uuid not null,
  priority smallint not null default 0,
  id bigint generated always as identity,
  at timestamptz not null default clock_timestamp(),
  message jsonb not null,
  primary key (project_id, priority, id)
);

create table meshhook_engine.admission (
  project_id uuid not null,
  slot smallint not null,
  queued int not null,
  primary key (project_id, slot)
) with (fillfactor = 50);

-- Metrics: commit inserts a row of deltas, compact_counters() folds them into counters.
create table meshhook_engine.counter_deltas (
  project_id uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  metric text not null,
  delta bigint not null
);
create index counter_deltas_xid on meshhook_engine.counter_deltas (xid);
-- Where to look for deltas, of counters and histograms alike: a transaction below upto that isn't
-- in open was over when they were last folded, and all of its deltas were among them (docs/decisions/0003).
create table meshhook_engine.fold_floor (
  singleton boolean primary key default true check (singleton),
  upto xid8 not null default '0',
  open xid8[] not null default '{}'
) with (fillfactor = 10);
insert into meshhook_engine.fold_floor default values;
create table meshhook.counters (
  project_id uuid not null,
  metric text not null,
  value bigint not null,
  updated_at timestamptz not null default now(),
  primary key (project_id, metric)
);

-- A webhook that was taken in: the same key gives the same run.
create table meshhook_engine.deliveries (
  endpoint_id uuid not null,
  dedupe_key text not null,
  run_id uuid not null,
  received_at timestamptz not null default now(),
  digest bytea,
  primary key (endpoint_id, dedupe_key)
);

create table meshhook.workers (
  id uuid primary key,
  kind text not null,
  host text not null,
  pid int not null,
  version text not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  draining boolean not null default false,
  info jsonb not null default '{}'
);

create table meshhook.audit_log (
  id bigint generated always as identity primary key,
  project_id uuid,
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  subject text not null,
  detail jsonb not null default '{}'
);
create index audit_project on meshhook.audit_log (project_id, id desc);

-- The schema's version, raised by every migration that the programs rely on.
create table meshhook_engine.schema_version (
  singleton boolean primary key default true check (singleton),
  version int not null,
  oldest_program int not null default 1
);
insert into meshhook_engine.schema_version (version) values (1);

comment on table meshhook.projects is 'The unit of tenancy.';
comment on column meshhook.projects.generation is 'Part of the topics of live logs; moved when a member is removed.';
comment on column meshhook.projects.window_size is 'How many of its messages the queue holds at most; the rest waits in the backlog.';
comment on table meshhook.members is 'Who may what in a project: owner, admin, editor or viewer.';
comment on table meshhook.workflows is 'A workflow with its draft; what runs is a published version.';
comment on table meshhook.versions is 'Published versions: immutable; a run stays on the one it started with.';
comment on column meshhook.versions.plan is 'By trigger: the first events, steps and messages of a run, computed at publishing.';
comment on table meshhook.endpoints is 'Addresses at which webhooks come in.';
comment on column meshhook.endpoints.scheme is 'How requests are signed: {"type": "standard"}, or another, with what it needs.';
comment on column meshhook.endpoints.keyless is 'Its requests are verified without a secret of its own: by nobody, or by public keys.';
comment on column meshhook.endpoints.mapping is 'JMESPath over {body, headers, query, method} that makes a run''s input; null: the body is it.';
comment on column meshhook.endpoints.headers is 'Request headers that the mapping may see and that are kept with a body, in lower case.';
comment on column meshhook.endpoints.rate is 'Webhooks a second, over all gateways; null: as the gateways say.';
comment on column meshhook.endpoints.burst is 'Webhooks beyond the rate that are taken at once; null: twice the rate.';
comment on column meshhook.endpoints.keep_body_days is 'How long bodies are kept as they came; null: not at all.';
comment on table meshhook_engine.endpoint_secrets is 'The endpoints'' signing secrets, sealed under the intake key, which the database never sees.';
comment on column meshhook_engine.endpoint_secrets.expires_at is 'Until when a rotated secret is still accepted; null: the current one.';
comment on table meshhook.runs is 'A row a run: where it stands.';
comment on column meshhook.runs.last_seq is 'The last event''s number: the version that a commit is decided on.';
comment on column meshhook.runs.log_seq is 'The last line''s number in the run''s log channel.';
comment on column meshhook.runs.final_log_seq is 'The last line that there will ever be; null while the run goes on.';
comment on column meshhook.runs.log_epoch is 'Renewed when a restore may have taken lines back: old cursors are then void.';
comment on table meshhook.steps is 'Where each step of a run stands: what folding its events gives.';
comment on column meshhook.steps.waits is 'Of a join: edges still open.';
comment on column meshhook.steps.live is 'Of a join: edges that arrived alive.';
comment on column meshhook.steps.seq is 'The event that holds the step''s output.';
comment on table meshhook.run_events is 'The truth about every run: append-only, contiguous by run, partitioned by month of the run''s id.';
comment on table meshhook.logs is 'Log lines, contiguous by channel, partitioned by month.';
comment on column meshhook.logs.channel_id is 'The run''s id, or the channel''s.';
comment on column meshhook.logs.level is 'As OpenTelemetry counts: 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal.';
comment on column meshhook.logs.source is 'In a run''s channel: the service that published the line; null: the engine.';
comment on column meshhook.logs.client_ts is 'When its writer says that it was, where it says so; ts is the database''s.';
comment on table meshhook.channels is 'Log channels that are no run''s.';
comment on column meshhook.channels.epoch is 'Renewed when a restore may have taken lines back: old cursors are then void.';
comment on table meshhook_engine.staged_logs is 'Lines of transactions that have not committed yet.';
comment on table meshhook_engine.timers is 'What waits for a moment: delays and retries.';
comment on table meshhook_engine.backlog is 'Messages beyond their project''s window.';
comment on column meshhook_engine.backlog.at is 'Since when it waits.';
comment on table meshhook_engine.admission is 'How many messages of a project are in the queue: the sum over its slots. Below 0: slots of callers'' own transactions.';
comment on table meshhook_engine.counter_deltas is 'What compact_counters() folds into the counters; xid: the transaction that brought it.';
comment on table meshhook_engine.fold_floor is 'Whose deltas are not folded yet: transactions from upto, and those in open.';
comment on table meshhook.counters is 'Metrics of a project, without count(*). Under the id of zeros: of all projects, those that are gone too.';
comment on table meshhook_engine.deliveries is 'Dedupe keys of webhooks (by endpoint) and of start_run (by workflow): the same key, the same run.';
comment on column meshhook_engine.deliveries.digest is 'SHA-256 of a webhook''s body, to tell when a delivery comes again with another.';
comment on table meshhook.workers is 'Processes that live, by their heartbeats.';
comment on table meshhook.audit_log is 'Who changed what, written by triggers; immutable.';
comment on table meshhook_engine.schema_version is 'The schema''s version, for programs to refuse what they can''t serve.';

select pgmq.create('mh_work');
select pgmq.create('mh_dead');
