-- Functions for people and programs.
--
-- Who may: what is plain DML (projects, members, workflows) runs as the caller, under the
-- grants and policies of the file of rights. What the caller can't do itself is a pair in
-- meshhook_engine: x, executable by service_role and the owner, and x_as_member, executable
-- by authenticated, which first asks for membership. meshhook.x runs as its caller and takes
-- the one that the caller may execute. So a trigger of yours that is SECURITY DEFINER may
-- start runs for people who are members of nothing.
--
-- SQLSTATE: PT404 not found (PostgREST answers 404), 42501 not allowed, 22023 bad argument.

-- Identity -------------------------------------------------------------------------------

create function meshhook_engine.actor() returns text
language sql stable security definer set search_path = ''
return coalesce('user:' || auth.uid(),
  'role:' || coalesce(nullif(current_setting('role', true), 'none'), session_user));
comment on function meshhook_engine.actor() is
  'Who acts, for the record: user:<id> where a token says so, else role:<name>.';

create function meshhook_engine.my_projects(p_role text default 'viewer') returns uuid[]
language sql stable security definer set search_path = ''
return coalesce((
  select array_agg(m.project_id) from meshhook.members m
  where m.user_id = auth.uid()
    and array_position(array['viewer', 'editor', 'admin', 'owner'], m.role)
      >= array_position(array['viewer', 'editor', 'admin', 'owner'], p_role)), '{}');
comment on function meshhook_engine.my_projects(text) is
  'The projects in which the token''s user has at least this role. Policies ask it once a statement.';

create function meshhook_engine.project_id(p_project text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
  found_id uuid;
begin
  if p_project ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    select id into found_id from meshhook.projects where id = p_project::uuid;
  else
    select id into found_id from meshhook.projects where slug = p_project;
  end if;
  if found_id is null then
    raise exception 'no project "%"', p_project using errcode = 'PT404';
  end if;
  return found_id;
end
$$;
comment on function meshhook_engine.project_id(text) is
  'A project by id or slug, among those that the caller may see; PT404 if there is none.';

create function meshhook_engine.workflow_id(p_project uuid, p_workflow text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
  found_id uuid;
begin
  select id into found_id from meshhook.workflows where project_id = p_project and name = p_workflow;
  if found_id is null then
    raise exception 'no workflow "%" in this project', p_workflow using errcode = 'PT404';
  end if;
  return found_id;
end
$$;
comment on function meshhook_engine.workflow_id(uuid, text) is
  'A project''s workflow by name, if the caller may see it; PT404 if there is none.';

create function meshhook_engine.require_member(p_project uuid, p_role text) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_project = any (meshhook_engine.my_projects(p_role)) then
    return;
  end if;
  if p_project = any (meshhook_engine.my_projects('viewer')) then
    raise exception 'this needs the role % in the project', p_role using errcode = 'insufficient_privilege';
  end if;
  raise exception 'no such project' using errcode = 'PT404';
end
$$;
comment on function meshhook_engine.require_member(uuid, text) is
  'Refuse whose token doesn''t have this role; to outsiders the project does not exist.';

-- Projects and members -------------------------------------------------------------------

create function meshhook.create_project(slug text, name text, owner uuid default null) returns uuid
language plpgsql set search_path = '' as $$
declare
  new_id uuid;
begin
  insert into meshhook.projects (slug, name) values ($1, $2) returning id into new_id;
  if $3 is not null then
    insert into meshhook.members (project_id, user_id, role) values (new_id, $3, 'owner');
  end if;
  return new_id;
end
$$;
comment on function meshhook.create_project(text, text, uuid) is
  'Create a project, with its first owner if one is given. For service_role and the operator.';

create function meshhook.add_member(project text, user_id uuid, role text default 'viewer') returns void
language sql set search_path = '' as $$
  insert into meshhook.members (project_id, user_id, role)
  values (meshhook_engine.project_id($1), $2, $3);
$$;
comment on function meshhook.add_member(text, uuid, text) is
  'Add a member. Admins may; only an owner may add an owner.';

create function meshhook.set_role(project text, user_id uuid, role text) returns void
language plpgsql set search_path = '' as $$
begin
  update meshhook.members m set role = $3
  where m.project_id = meshhook_engine.project_id($1) and m.user_id = $2;
  if not found then
    raise exception 'no such member, or not yours to change' using errcode = 'PT404';
  end if;
end
$$;
comment on function meshhook.set_role(text, uuid, text) is
  'Give a member another role. Admins may; only an owner may make or unmake an owner.';

create function meshhook.remove_member(project text, user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  delete from meshhook.members m
  where m.project_id = meshhook_engine.project_id($1) and m.user_id = $2;
  if not found then
    raise exception 'no such member, or not yours to remove' using errcode = 'PT404';
  end if;
end
$$;
comment on function meshhook.remove_member(text, uuid) is
  'Remove a member (admins; anyone may leave). The project''s generation moves on, and with it the topics of its live logs.';

-- A topic of Realtime carries the generation: who was removed listens to a dead one. The
-- projects' rows are locked here, so that of two last owners who leave at once one stays.
create function meshhook_engine.member_left() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform from meshhook.projects where id in (select project_id from gone) order by id for no key update;
  if tg_op = 'DELETE' then
    update meshhook.projects set generation = generation + 1 where id in (select project_id from gone);
  end if;
  if exists (select from gone g join meshhook.projects p on p.id = g.project_id
    where g.role = 'owner' and not exists (
      select from meshhook.members m where m.project_id = g.project_id and m.role = 'owner')) then
    raise exception 'a project keeps at least one owner' using errcode = 'check_violation';
  end if;
  return null;
end
$$;
comment on function meshhook_engine.member_left() is
  'Trigger: removing members moves the generation of their projects; the last owner stays.';
create trigger member_left after delete on meshhook.members referencing old table as gone
  for each statement execute function meshhook_engine.member_left();
create trigger member_changed after update on meshhook.members referencing old table as gone
  for each statement execute function meshhook_engine.member_left();

-- Workflows ------------------------------------------------------------------------------

create function meshhook_engine.workflow_touched() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
comment on function meshhook_engine.workflow_touched() is 'Trigger: when a draft was last changed.';
create trigger workflow_touched before update of draft on meshhook.workflows
  for each row execute function meshhook_engine.workflow_touched();

create function meshhook.push_workflow(project text, name text, draft jsonb) returns uuid
language sql set search_path = '' as $$
  insert into meshhook.workflows (project_id, name, draft)
  values (meshhook_engine.project_id($1), $2, $3)
  on conflict (project_id, name) do update set draft = excluded.draft
  returning id;
$$;
comment on function meshhook.push_workflow(text, text, jsonb) is
  'Save a workflow''s draft. Editors may. Nothing runs it before it is published.';

create function meshhook_engine.publish_version(p_workflow uuid, p_definition jsonb, p_plan jsonb)
returns int
language plpgsql security definer set search_path = '' as $$
declare
  flow meshhook.workflows;
  next_version int;
begin
  select * into flow from meshhook.workflows where id = p_workflow for no key update;
  if not found then
    raise exception 'no such workflow' using errcode = 'PT404';
  end if;
  if exists (select from meshhook.versions where workflow_id = flow.id
    and version = flow.published_version and definition = p_definition and plan = p_plan) then
    return flow.published_version;
  end if;
  select coalesce(max(version), 0) + 1 into next_version
  from meshhook.versions where workflow_id = flow.id;
  insert into meshhook.versions (project_id, workflow_id, version, definition, plan, published_by)
  values (flow.project_id, flow.id, next_version, p_definition, p_plan, auth.uid());
  update meshhook.workflows set published_version = next_version where id = flow.id;
  return next_version;
end
$$;
comment on function meshhook_engine.publish_version(uuid, jsonb, jsonb) is
  'Make a definition that was validated and planned a workflow''s next version; the same again is the same version. For the program only: nothing here checks what it is given.';

create function meshhook_engine.load_version(p_version uuid)
returns table (project_id uuid, workflow_id uuid, workflow text, version int, definition jsonb)
language sql stable security definer set search_path = ''
begin atomic
  select v.project_id, v.workflow_id, w.name, v.version, v.definition
  from meshhook.versions v join meshhook.workflows w on w.id = v.workflow_id
  where v.id = p_version;
end;
comment on function meshhook_engine.load_version(uuid) is
  'A published version, for a worker to keep: it never changes.';

-- Endpoints ------------------------------------------------------------------------------

create function meshhook_engine.create_endpoint(p_project text, p_slug text, p_workflow text,
  p_trigger text, p_sealed text, p_id uuid default null, p_options jsonb default '{}') returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  project uuid := meshhook_engine.project_id(p_project);
  endpoint uuid := coalesce(p_id, meshhook_engine.uuid7());
  o record;
begin
  select * into o from jsonb_to_record(p_options) as x(scheme jsonb, mapping text, headers text[],
    rate int, burst int, keep_body_days int, max_body_bytes int, enabled boolean);
  insert into meshhook.endpoints (id, project_id, workflow_id, trigger, slug, scheme, mapping,
    headers, rate, burst, keep_body_days, max_body_bytes, enabled)
  values (endpoint, project, meshhook_engine.workflow_id(project, p_workflow), p_trigger, p_slug,
    coalesce(o.scheme, '{"type": "standard"}'), o.mapping, coalesce(o.headers, '{}'), o.rate,
    o.burst, o.keep_body_days, coalesce(o.max_body_bytes, 1048576), coalesce(o.enabled, true));
  if p_sealed is not null then
    insert into meshhook_engine.endpoint_secrets (endpoint_id, secret_version, sealed)
    values (endpoint, 1, p_sealed);
  end if;
  return endpoint;
end
$$;
comment on function meshhook_engine.create_endpoint(text, text, text, text, text, uuid, jsonb) is
  'Open an address for webhooks. The signing secret comes sealed under the intake key, which the database never sees; null: none is needed. p_id: a fresh uuid7, where the seal is bound to it. p_options: columns of the endpoint.';

create function meshhook_engine.rotate_endpoint(p_endpoint uuid, p_sealed text,
  p_grace interval default '24 hours', p_version int default null) returns int
language plpgsql security definer set search_path = '' as $$
declare
  next_version int;
begin
  update meshhook.endpoints set secret_version = secret_version + 1
  where id = p_endpoint returning secret_version into next_version;
  if not found then
    raise exception 'no such endpoint' using errcode = 'PT404';
  end if;
  if next_version <> p_version then
    raise exception 'the endpoint was changed meanwhile' using errcode = 'serialization_failure';
  end if;
  update meshhook_engine.endpoint_secrets set expires_at = least(expires_at, now() + p_grace)
  where endpoint_id = p_endpoint;
  insert into meshhook_engine.endpoint_secrets (endpoint_id, secret_version, sealed)
  values (p_endpoint, next_version, p_sealed);
  return next_version;
end
$$;
comment on function meshhook_engine.rotate_endpoint(uuid, text, interval, int) is
  'Give an endpoint a new secret; the old ones are accepted until the grace period ends. p_version: the one that the seal is bound to, one more than it has.';

create function meshhook_engine.set_endpoint(p_endpoint uuid, p_options jsonb,
  p_sealed text default null, p_version int default null) returns meshhook.endpoints
language plpgsql security definer set search_path = '' as $$
declare
  endpoint meshhook.endpoints;
begin
  if p_sealed is not null then
    perform meshhook_engine.rotate_endpoint(p_endpoint, p_sealed, '0', p_version);
  end if;
  update meshhook.endpoints e
     set (scheme, mapping, headers, rate, burst, keep_body_days, max_body_bytes, enabled) =
       (select o.scheme, o.mapping, coalesce(o.headers, '{}'), o.rate, o.burst, o.keep_body_days,
          coalesce(o.max_body_bytes, 1048576), o.enabled
        from jsonb_populate_record(e, p_options) o)
   where e.id = p_endpoint returning * into endpoint;
  if not found then
    raise exception 'no such endpoint' using errcode = 'PT404';
  end if;
  return endpoint;
end
$$;
comment on function meshhook_engine.set_endpoint(uuid, jsonb, text, int) is
  'Change columns of an endpoint: those that p_options names; null takes an option away. p_sealed: the secret of another scheme, in the place of all before it, and p_version its version.';

-- Starting a run -------------------------------------------------------------------------

create function meshhook_engine.pick_trigger(p_version meshhook.versions, p_trigger text) returns text
language plpgsql immutable set search_path = '' as $$
declare
  triggers text[] := array(select jsonb_object_keys(p_version.plan) order by 1);
  manual text[];
begin
  if p_trigger = any (triggers) then
    return p_trigger;
  end if;
  if p_trigger is null and cardinality(triggers) = 1 then
    return triggers[1];
  end if;
  if p_trigger is null then
    manual := array(select t from unnest(triggers) t where jsonb_path_exists(p_version.definition,
      '$.nodes[*] ? (@.id == $id && @.type == "manual")', jsonb_build_object('id', t)));
    if cardinality(manual) = 1 then
      return manual[1];
    end if;
  end if;
  raise exception 'no trigger "%"', coalesce(p_trigger, '') using errcode = 'invalid_parameter_value',
    hint = 'triggers of this version: ' || array_to_string(triggers, ', ');
end
$$;
comment on function meshhook_engine.pick_trigger(meshhook.versions, text) is
  'The trigger to start by: the one named, else the only one, else the only manual one.';

create function meshhook_engine.start_run(p_project uuid, p_workflow text, p_input jsonb,
  p_trigger text, p_dedupe_key text) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  flow uuid := meshhook_engine.workflow_id(p_project, p_workflow);
  published meshhook.versions;
  run uuid := meshhook_engine.uuid7();
  earlier uuid;
begin
  if octet_length(p_input::text) > 16777216 then -- as of a webhook
    raise exception 'a run''s input has at most 16 MiB' using errcode = 'program_limit_exceeded';
  end if;
  select v.* into published from meshhook.workflows w
  join meshhook.versions v on v.workflow_id = w.id and v.version = w.published_version
  where w.id = flow;
  if not found then
    raise exception 'workflow "%" is not published', p_workflow using errcode = 'invalid_parameter_value',
      hint = 'meshhook workflow publish';
  end if;
  if p_dedupe_key is not null then
    insert into meshhook_engine.deliveries (endpoint_id, dedupe_key, run_id)
    values (flow, p_dedupe_key, run) on conflict do nothing;
    if not found then
      select run_id into earlier from meshhook_engine.deliveries
      where endpoint_id = flow and dedupe_key = p_dedupe_key;
      if earlier is null then -- committed after this transaction's snapshot
        raise exception 'another transaction used this dedupe_key' using errcode = 'serialization_failure';
      end if;
      return earlier;
    end if;
  end if;
  -- A slot below those of the workers, which must not wait until the caller commits.
  perform meshhook_engine.start_runs(array[published.id],
    array[meshhook_engine.pick_trigger(published, p_trigger)], array[coalesce(p_input, '{}')], array[run],
    p_slot => -1 - pg_backend_pid() % 64);
  return run;
end
$$;
comment on function meshhook_engine.start_run(uuid, text, jsonb, text, text) is
  'start_run for whoever may execute it; grant it to a role of yours that may start any workflow.';

create function meshhook_engine.start_run_as_member(p_project uuid, p_workflow text, p_input jsonb,
  p_trigger text, p_dedupe_key text) returns uuid
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(p_project, 'editor');
  return meshhook_engine.start_run(p_project, p_workflow, p_input, p_trigger, p_dedupe_key);
end
$$;
comment on function meshhook_engine.start_run_as_member(uuid, text, jsonb, text, text) is
  'start_run for a project''s editors.';

create function meshhook.start_run(project text, workflow text, input jsonb default '{}',
  trigger text default null, dedupe_key text default null) returns uuid
language plpgsql set search_path = '' as $$
declare
  p uuid := meshhook_engine.project_id($1);
begin
  if has_function_privilege('meshhook_engine.start_run(uuid, text, jsonb, text, text)', 'execute') then
    return meshhook_engine.start_run(p, $2, $3, $4, $5);
  end if;
  return meshhook_engine.start_run_as_member(p, $2, $3, $4, $5);
end
$$;
comment on function meshhook.start_run(text, text, jsonb, text, text) is
  'Start a run of a workflow''s published version, in your own transaction: it begins when you commit and vanishes if you don''t. project is a slug or an id. The same dedupe_key gives the same run. Editors may.';

-- Cancelling a run -----------------------------------------------------------------------

-- The fact and its acknowledgement in one transaction, under the run's lock, as the engine would
-- decide and commit them. What is still in the queue finds its run over and is dropped.
create function meshhook_engine.cancel_run(p_run uuid, p_reason text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  run meshhook.runs;
  why jsonb := jsonb_strip_nulls(jsonb_build_object('reason', p_reason));
  who_and_why jsonb := why || jsonb_build_object('by', meshhook_engine.actor());
begin
  if length(p_reason) > 1000 then
    raise exception 'a reason has at most 1,000 characters' using errcode = 'program_limit_exceeded';
  end if;
  select * into run from meshhook.runs where id = p_run for no key update;
  if not found then
    raise exception 'no such run' using errcode = 'PT404';
  end if;
  if run.status <> 'running' then
    return false;
  end if;
  insert into meshhook.run_events (run_id, seq, project_id, type, payload)
  values (run.id, run.last_seq + 1, run.project_id, 'run.cancel_requested', who_and_why),
    (run.id, run.last_seq + 2, run.project_id, 'run.cancelled', why);
  insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs)
  values (run.id, run.log_seq + 1, run.project_id, meshhook_engine.log_level('warn'),
    'run cancelled' || coalesce(': ' || p_reason, ''),
    who_and_why || '{"event": "run.cancelled"}');
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
  values (run.project_id, 'run.cancel_requested', 1), (run.project_id, 'run.cancelled', 1),
    (run.project_id, 'log.lines', 1);
  delete from meshhook_engine.timers where run_id = run.id;
  update meshhook.runs set status = 'cancelled', last_seq = run.last_seq + 2,
    log_seq = run.log_seq + 1, final_log_seq = run.log_seq + 1, ended_at = now()
  where id = run.id;
  perform meshhook_engine.broadcast_runs(array[run.project_id], array[run.id]);
  perform meshhook_engine.broadcast_touch(array[run.id], array[run.log_seq::bigint]);
  return true;
end
$$;
comment on function meshhook_engine.cancel_run(uuid, text) is
  'cancel_run for whoever may execute it.';

create function meshhook_engine.cancel_run_as_member(p_run uuid, p_reason text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(
    (select project_id from meshhook.runs where id = p_run), 'editor');
  return meshhook_engine.cancel_run(p_run, p_reason);
end
$$;
comment on function meshhook_engine.cancel_run_as_member(uuid, text) is
  'cancel_run for a project''s editors.';

create function meshhook.cancel_run(run uuid, reason text default null) returns boolean
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('meshhook_engine.cancel_run(uuid, text)', 'execute') then
    return meshhook_engine.cancel_run($1, $2);
  end if;
  return meshhook_engine.cancel_run_as_member($1, $2);
end
$$;
comment on function meshhook.cancel_run(uuid, text) is
  'End a run now; false if it is over already. A call that is on the wire ends unrecorded. Editors may.';

-- Log lines of your own ------------------------------------------------------------------

create function meshhook_engine.log_level(p_level text) returns smallint
language plpgsql immutable strict parallel safe set search_path = '' as $$
begin
  return case lower(p_level) when 'trace' then 1 when 'debug' then 5 when 'info' then 9
    when 'warn' then 13 when 'warning' then 13 when 'error' then 17 when 'fatal' then 21 end;
end
$$;
comment on function meshhook_engine.log_level(text) is
  'A level''s number, as OpenTelemetry counts; null for a name that is none.';

create function meshhook_engine.log(p_project uuid, p_service text, p_resource text, p_level text,
  p_message text, p_attrs jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  level smallint := meshhook_engine.log_level(p_level);
begin
  if level is null then
    raise exception 'no log level "%"', p_level using errcode = 'invalid_parameter_value',
      hint = 'trace, debug, info, warn, error or fatal';
  end if;
  if octet_length(p_message) > 65536 or pg_column_size(p_attrs) > 65536 then
    raise exception 'a log line holds 64 KiB of text and 64 KiB of attributes'
      using errcode = 'program_limit_exceeded';
  end if;
  insert into meshhook_engine.staged_logs (project_id, service, resource, level, message, attrs)
  values (p_project, p_service, coalesce(p_resource, ''), level, p_message, p_attrs);
end
$$;
comment on function meshhook_engine.log(uuid, text, text, text, text, jsonb) is
  'log for whoever may execute it.';

create function meshhook_engine.log_as_member(p_project uuid, p_service text, p_resource text,
  p_level text, p_message text, p_attrs jsonb) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(p_project, 'editor');
  perform meshhook_engine.log(p_project, p_service, p_resource, p_level, p_message, p_attrs);
end
$$;
comment on function meshhook_engine.log_as_member(uuid, text, text, text, text, jsonb) is
  'log for a project''s editors.';

create function meshhook.log(project text, service text, resource text, level text, message text,
  attrs jsonb default null) returns void
language plpgsql set search_path = '' as $$
declare
  p uuid := meshhook_engine.project_id($1);
begin
  if has_function_privilege('meshhook_engine.log(uuid, text, text, text, text, jsonb)', 'execute') then
    perform meshhook_engine.log(p, $2, $3, $4, $5, $6);
  else
    perform meshhook_engine.log_as_member(p, $2, $3, $4, $5, $6);
  end if;
end
$$;
comment on function meshhook.log(text, text, text, text, text, jsonb) is
  'Write a line to the channel logs:{service}:{project}:{resource}, in your own transaction: numbered when you commit, gone if you don''t. Editors may.';

-- Numbers a transaction's lines at its commit, so that a channel's lock is held for that moment
-- only, and commit order is sequence order. The first line to fire numbers all: the rows of
-- others are invisible until they are gone, ids only grow, and so one range scan from the first
-- line's id finds ours. New channels are made in the order of their names, then all are locked
-- in the order of their ids.
create function meshhook_engine.number_staged_logs() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  ids uuid[];
  bases bigint[];
begin
  if not exists (select from meshhook_engine.staged_logs where id = new.id) then
    return null;
  end if;
  insert into meshhook.channels (project_id, service, resource)
  select distinct project_id, service, resource from meshhook_engine.staged_logs s
  where id >= new.id and not exists (select from meshhook.channels c
    where (c.project_id, c.service, c.resource) = (s.project_id, s.service, s.resource))
  order by 1, 2, 3
  on conflict do nothing;
  perform from meshhook.channels c
  where exists (select from meshhook_engine.staged_logs s where s.id >= new.id
    and (c.project_id, c.service, c.resource) = (s.project_id, s.service, s.resource))
  order by id for no key update;
  with line as (
    delete from meshhook_engine.staged_logs where id >= new.id returning *
  ), moved as (
    update meshhook.channels c set last_seq = c.last_seq + n.lines
    from (select project_id, service, resource, count(*) as lines from line group by 1, 2, 3) n
    where (c.project_id, c.service, c.resource) = (n.project_id, n.service, n.resource)
    returning c.id, c.project_id, c.service, c.resource, c.last_seq - n.lines as base
  ), numbered as (
    insert into meshhook.logs (channel_id, seq, project_id, ts, level, message, attrs)
    select m.id, m.base + row_number() over (partition by m.id order by l.id),
      l.project_id, l.ts, l.level, l.message, l.attrs
    from line l join moved m using (project_id, service, resource)
  ), counted as (
    insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select project_id, 'log.lines', count(*) from line group by 1
  )
  select array_agg(id), array_agg(base) into ids, bases from moved;
  perform meshhook_engine.broadcast_touch(ids, bases);
  return null;
end
$$;
comment on function meshhook_engine.number_staged_logs() is
  'Trigger, deferred to the commit: number this transaction''s log lines, and broadcast what is watched.';
create constraint trigger number_staged_logs after insert on meshhook_engine.staged_logs
  deferrable initially deferred
  for each row execute function meshhook_engine.number_staged_logs();

-- Workers --------------------------------------------------------------------------------

create function meshhook_engine.heartbeat(p_id uuid, p_kind text, p_host text, p_pid int,
  p_version text, p_draining boolean default false, p_info jsonb default '{}') returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform set_config('synchronous_commit', 'off', true); -- losing one costs nothing
  -- What a gateway has counted since it began, less what it had said before: told is what it
  -- knows of that, for where its row was cleared meanwhile.
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select '00000000-0000-0000-0000-000000000000', x.metric, x.delta
      from (select c.key as metric, c.value::bigint - coalesce((coalesce(
                     (select w.info -> 'counted' from meshhook.workers w where w.id = p_id),
                     p_info -> 'told') ->> c.key)::bigint, 0) as delta
              from jsonb_each_text(p_info -> 'counted') c
             where p_kind = 'gateway' and c.key in ('intake.accepted', 'intake.failed')) x
     where x.delta > 0;
  insert into meshhook.workers as w (id, kind, host, pid, version, draining, info)
  values (p_id, p_kind, p_host, p_pid, p_version, p_draining, p_info)
  on conflict (id) do update set seen_at = now(), draining = excluded.draining, info = excluded.info;
  delete from meshhook.workers where id in (
    select id from meshhook.workers where seen_at < now() - interval '1 day' for update skip locked);
end
$$;
comment on function meshhook_engine.heartbeat(uuid, text, text, int, text, boolean, jsonb) is
  'A process says that it lives; what a gateway has counted (info.counted) moves the installation''s counters. Whoever was silent for a day is forgotten.';

create function meshhook_engine.goodbye(p_id uuid) returns void
language sql security definer set search_path = ''
begin atomic
  delete from meshhook.workers where id = p_id;
end;
comment on function meshhook_engine.goodbye(uuid) is 'A process ends in order.';
