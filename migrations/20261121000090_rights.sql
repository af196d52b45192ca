-- Who may do what, in one place. Everything is refused first, then granted by name. Partitions
-- and new functions inherit none of this, and a schema's default privileges can't take back what
-- PUBLIC gets on every function: a later migration revokes what it creates, and a test walks the
-- catalogue.

-- Refuse ------------------------------------------------------------------------------------

do $$
declare
  everyone constant text := 'public, anon, authenticated, service_role,'
    ' meshhook_worker, meshhook_gateway, meshhook_monitor';
  s text;
  t regclass;
begin
  foreach s in array array['meshhook', 'meshhook_engine'] loop
    execute format('revoke all on schema %I from %s', s, everyone);
    execute format('revoke all on all tables in schema %I from %s', s, everyone);
    execute format('revoke all on all sequences in schema %I from %s', s, everyone);
    execute format('revoke all on all routines in schema %I from %s', s, everyone);
    for t in select oid from pg_class
      where relnamespace = s::regnamespace and relkind in ('r', 'p') loop
      execute format('alter table %s enable row level security', t);
    end loop;
  end loop;
end
$$;
alter table pgmq.q_mh_work enable row level security;
alter table pgmq.q_mh_dead enable row level security;

-- Functions: the whole list. Every overload of a name; a name that doesn't exist fails. -----

grant usage on schema meshhook to authenticated, service_role;
grant usage on schema meshhook_engine to
  authenticated, service_role, meshhook_worker, meshhook_gateway, meshhook_monitor;

do $$
declare
  g record;
  f regprocedure;
begin
  for g in select * from (values
    ('authenticated', 'meshhook', '{add_member, cancel_run, log, purge_project, push_workflow,
      remove_member, set_role, start_run, watch}'::text[]),
    ('authenticated', 'meshhook_engine', '{cancel_run_as_member, log_as_member, may_listen,
      my_projects, project_id, purge_project_as_member, start_run_as_member, uuid7,
      watch_as_member}'),
    ('service_role', 'meshhook', '{add_member, cancel_run, create_project, log, purge_project,
      push_workflow, remove_member, set_role, start_run, watch}'),
    ('service_role', 'meshhook_engine', '{cancel_run, log, project_id, purge_project, start_run,
      uuid7, watch}'),
    -- streams of live logs
    ('authenticated', 'meshhook_engine', '{attach, line_before}'),
    ('meshhook_gateway', 'meshhook_engine', '{channels_under, members_still, tail}'),
    ('meshhook_worker', 'meshhook_engine', '{bury_foreign, claim, commit, compact_counters,
      ensure_partitions, extend, flush_broadcasts, goodbye, heartbeat, left_to_do, load_version, purge_bodies,
      release, schema_info, summarize_logs, use_secrets}'),
    ('meshhook_gateway', 'meshhook_engine', '{endpoint_lookup, flush_broadcasts, goodbye,
      heartbeat, intake, lease_tokens, schema_info}'),
    ('meshhook_monitor', 'meshhook_engine', '{flush_broadcasts, goodbye, heartbeat, schema_info}'),
    ('meshhook_monitor', 'meshhook_engine', '{alert_load, alert_record, alert_version, outbox_done,
      outbox_take}'),
    ('meshhook_monitor', 'meshhook_engine', '{archive_anew, archive_done, archive_failed,
      archive_manifest, archive_next, archive_part, archive_slice, upkeep}'),
    ('authenticated', 'meshhook', '{acknowledge_alert}'),
    ('authenticated', 'meshhook_engine', '{acknowledge_as_member}'),
    ('service_role', 'meshhook', '{acknowledge_alert}'),
    ('service_role', 'meshhook_engine', '{acknowledge}'),
    ('meshhook_monitor', 'meshhook_engine', '{lead, metric_history, step_down, tick}'),
    ('meshhook_monitor', 'meshhook_engine', '{canary, failed_waiting, health_watched, tell_failed}'),
    ('meshhook_gateway', 'meshhook_engine', '{histogram_totals}'),
    ('authenticated', 'meshhook', '{explain}'),
    ('authenticated', 'meshhook_engine', '{explain_as_member}'),
    ('service_role', 'meshhook', '{explain}'),
    ('service_role', 'meshhook_engine', '{explain}'),
    ('authenticated', 'meshhook', '{slo}'),
    ('authenticated', 'meshhook_engine', '{slo_as_member}'),
    ('service_role', 'meshhook', '{slo}'),
    ('service_role', 'meshhook_engine', '{slo}'),
    ('meshhook_gateway', 'meshhook_engine', '{scrape}'),
    -- publishing
    ('authenticated', 'meshhook', '{create_service_token, log_lines, revoke_service_token}'),
    ('authenticated', 'meshhook_engine', '{create_service_token_as_member, log_names,
      revoke_service_token_as_member}'),
    ('service_role', 'meshhook', '{create_service_token, log_lines, revoke_service_token}'),
    ('service_role', 'meshhook_engine', '{create_service_token, log_names, revoke_service_token}'),
    ('meshhook_gateway', 'meshhook_engine', '{append_logs, service_token}')
  ) as t (role, schema, names) loop
    for i in 1 .. cardinality(g.names) loop
      if not exists (select from pg_proc
        where pronamespace = g.schema::regnamespace and proname = g.names[i]) then
        raise exception 'no function %.% to grant', g.schema, g.names[i];
      end if;
    end loop;
    for f in select oid from pg_proc
      where pronamespace = g.schema::regnamespace and proname = any (g.names) loop
      execute format('grant execute on function %s to %I', f, g.role);
    end loop;
  end loop;
end
$$;

-- The gateway reads as the user whose token it verified, and as nobody stronger. It inherits
-- nothing: it must become one of them first.
alter role meshhook_gateway noinherit;
grant anon, authenticated to meshhook_gateway;

-- Tables ------------------------------------------------------------------------------------

grant select on meshhook.projects, meshhook.members, meshhook.workflows, meshhook.versions,
  meshhook.endpoints, meshhook.runs, meshhook.steps, meshhook.run_events, meshhook.logs,
  meshhook.channels, meshhook.counters, meshhook.audit_log, meshhook.queue_metrics,
  meshhook.queue_metrics_minute, meshhook.recent_logs,
  meshhook.service_tokens, meshhook.secrets, meshhook.webhook_bodies
  to authenticated, service_role;
grant select on meshhook.workers to service_role;

grant update (name) on meshhook.projects to authenticated, service_role;
grant insert (slug, name, window_size), update (window_size, broadcast) on meshhook.projects
  to service_role;
grant insert (project_id, user_id, role), update (role), delete on meshhook.members
  to authenticated, service_role;
grant insert (project_id, name, draft), update (draft), delete on meshhook.workflows
  to authenticated, service_role;
grant update (enabled, max_body_bytes, mapping, headers, rate, burst, keep_body_days)
  on meshhook.endpoints to authenticated, service_role;

-- Policies: by membership, found once a statement. service_role bypasses them. --------------

create policy seen_by_members on meshhook.projects for select to authenticated
  using (id = any ((select meshhook_engine.my_projects('viewer'))::uuid[]));
create policy named_by_admins on meshhook.projects for update to authenticated
  using (id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));

do $$
declare
  t text;
begin
  foreach t in array array['members', 'workflows', 'versions', 'endpoints', 'runs', 'steps',
    'run_events', 'logs', 'channels', 'counters', 'queue_metrics', 'queue_metrics_minute', 'recent_logs', 'secrets'] loop
    execute format('create policy seen_by_members on meshhook.%I for select to authenticated'
      ' using (project_id = any ((select meshhook_engine.my_projects(''viewer''))::uuid[]))', t);
  end loop;
end
$$;
create policy seen_by_admins on meshhook.audit_log for select to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));
create policy seen_by_admins on meshhook.service_tokens for select to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));
create policy seen_by_admins on meshhook.webhook_bodies for select to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));

-- Owners are made, changed and removed by owners only; anyone may leave.
create policy added_by_admins on meshhook.members for insert to authenticated
  with check (project_id = any ((select meshhook_engine.my_projects('owner'))::uuid[])
    or role <> 'owner' and project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));
create policy changed_by_admins on meshhook.members for update to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('owner'))::uuid[])
    or role <> 'owner' and project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));
create policy removed_by_admins on meshhook.members for delete to authenticated
  using (user_id = (select auth.uid())
    or project_id = any ((select meshhook_engine.my_projects('owner'))::uuid[])
    or role <> 'owner' and project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));

create policy drafted_by_editors on meshhook.workflows for insert to authenticated
  with check (project_id = any ((select meshhook_engine.my_projects('editor'))::uuid[]));
create policy changed_by_editors on meshhook.workflows for update to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('editor'))::uuid[]));
create policy removed_by_admins on meshhook.workflows for delete to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));
create policy switched_by_admins on meshhook.endpoints for update to authenticated
  using (project_id = any ((select meshhook_engine.my_projects('admin'))::uuid[]));

-- Alerts: admins say what to watch and whom to tell, editors silence and acknowledge. Rows without
-- a project are the installation's: only service_role sees and changes them.
grant select on meshhook.alert_rules, meshhook.alerts, meshhook.alert_history, meshhook.silences,
  meshhook.alert_channels, meshhook.outbox to authenticated, service_role;
grant insert (project_id, name, expr, hold_s, keep_s, severity, labels, summary, description, runbook,
    inhibited_by, enabled),
  update (expr, hold_s, keep_s, severity, labels, summary, description, runbook, inhibited_by, enabled),
  delete on meshhook.alert_rules to authenticated, service_role;
grant insert (project_id, rule, labels, starts_at, ends_at, comment), update (ends_at), delete
  on meshhook.silences to authenticated, service_role;
grant update (min_severity, group_by, wait_ms, interval_ms, repeat_ms, per_minute, enabled), delete
  on meshhook.alert_channels to authenticated, service_role;
do $$
declare
  p record;
begin
  for p in select * from (values ('alert_rules', 'viewer', 'admin'), ('alerts', 'viewer', null),
      ('alert_history', 'viewer', null), ('silences', 'viewer', 'editor'),
      ('alert_channels', 'admin', 'admin'), ('outbox', 'admin', null)) t(name, see, change) loop
    execute format('create policy seen_by_%ss on meshhook.%I for select to authenticated using'
      ' (project_id = any ((select meshhook_engine.my_projects(%L))::uuid[]))', p.see, p.name, p.see);
    continue when p.change is null;
    execute format('create policy made_by_%1$ss on meshhook.%2$I for insert to authenticated with check'
      ' (project_id = any ((select meshhook_engine.my_projects(%1$L))::uuid[]))', p.change, p.name);
    execute format('create policy changed_by_%1$ss on meshhook.%2$I for update to authenticated using'
      ' (project_id = any ((select meshhook_engine.my_projects(%1$L))::uuid[]))', p.change, p.name);
    execute format('create policy removed_by_%1$ss on meshhook.%2$I for delete to authenticated using'
      ' (project_id = any ((select meshhook_engine.my_projects(%1$L))::uuid[]))', p.change, p.name);
  end loop;
end
$$;
