-- The hot path: start_runs, intake, commit; claim is in a file of its own. Called by workers and
-- gateways only (rights are in a later file); docs/decisions/0001 and 0002 say why they are
-- as they are. Each is one statement for its caller, and so one transaction.
--
-- Lock order, everywhere (docs/architecture.md): endpoint, dedupe key, run, message, timer, admission,
-- channel, watched; each by id.
-- The planner settings on the functions keep set-based joins on their indexes whatever the
-- statistics of the moment say (an empty table is the common case when a plan is cached).

-- A project's messages in the queue, counted over slots so that no row is hot.
create function meshhook_engine.admission_add(p_project uuid[], p_slot int, p_delta int[])
returns void language sql set search_path = '' as $$
  insert into meshhook_engine.admission as a (project_id, slot, queued)
    select d.project, p_slot, sum(d.delta)
      from unnest(p_project, p_delta) d(project, delta)
     group by d.project having sum(d.delta) <> 0 order by d.project
  on conflict (project_id, slot) do update set queued = a.queued + excluded.queued
$$;
comment on function meshhook_engine.admission_add is
  'Adds to the count of each project''s messages in the queue, in this slot''s row. No row is touched when a sum is 0.';

-- How many more messages of a project the queue may hold; may be negative.
create function meshhook_engine.admission_room(p_project uuid)
returns int language plpgsql stable set search_path = '' as $$
begin
  return (select p.window_size - coalesce((select sum(a.queued)
      from meshhook_engine.admission a where a.project_id = p.id), 0)
    from meshhook.projects p where p.id = p_project);
end $$;
comment on function meshhook_engine.admission_room is
  'How many more of the project''s messages the queue may hold; negative when over, null when there is no such project.';

-- The queue has two lanes, which are two ranges of vt: what lies a hundred years back is ready too,
-- and is read first. A project's first messages in the queue are sent ahead, so that another's crowd
-- isn't before them. A message that was leased and comes back is in the common lane.
create function meshhook_engine.ahead_room(p_project uuid, p_gone int default 0)
returns int language plpgsql stable set search_path = '' as $$
begin
  return 100 + p_gone - coalesce((select sum(a.queued)
    from meshhook_engine.admission a where a.project_id = p_project), 0);
end $$;
comment on function meshhook_engine.ahead_room is
  'How many more of the project''s messages may be sent ahead: until it has 100 in the queue, p_gone of those it has not counted.';

create function meshhook_engine.sent_vt(p_ahead boolean)
returns timestamptz language sql volatile
return clock_timestamp() - case when p_ahead then interval '876000 hours' else interval '0' end;
comment on function meshhook_engine.sent_vt is
  'The vt of a message sent now: ahead, which is a hundred years back, or in the common lane.';

-- Send messages: to the queue while their project's window has room, else to the backlog.
create function meshhook_engine.send(p_project uuid[], p_priority smallint[], p_message jsonb[],
  p_slot int, p_behind boolean)
returns void language plpgsql set search_path = '' as $$
declare
  v_project uuid;
  v_room int;
  v_ahead int;
  v_ids int[];
begin
  for v_project, v_ids in
    select x.project, array_agg(x.ord::int order by x.ord)
      from unnest(p_project) with ordinality x(project, ord)
     group by x.project order by x.project
  loop
    v_room := greatest(meshhook_engine.admission_room(v_project), 0);
    if p_behind and exists (select from meshhook_engine.backlog b where b.project_id = v_project) then
      v_room := 0;
    end if;
    if v_room > 0 then
      v_ahead := meshhook_engine.ahead_room(v_project);
      insert into pgmq.q_mh_work (vt, message)
        select meshhook_engine.sent_vt(m.ord <= v_ahead), p_message[m.i]
          from unnest(v_ids[:v_room]) with ordinality m(i, ord);
      perform meshhook_engine.admission_add(array[v_project], p_slot,
        array[least(v_room, cardinality(v_ids))]);
    end if;
    if v_room < cardinality(v_ids) then
      insert into meshhook_engine.backlog (project_id, priority, message)
        select v_project, coalesce(p_priority[i], 0), p_message[i]
          from unnest(v_ids[v_room + 1:]) i;
      insert into meshhook_engine.counter_deltas (project_id, metric, delta)
        values (v_project, 'backlog', cardinality(v_ids) - v_room);
    end if;
  end loop;
end $$;
comment on function meshhook_engine.send is
  'Sends messages (parallel arrays) to mh_work while their project''s window has room, else to the backlog. p_behind: new runs also stand behind the project''s own backlog.';

-- Start runs whose versions and triggers exist; ids are fresh UUIDv7s of the caller's.
create function meshhook_engine.start_runs(p_version uuid[], p_trigger text[], p_input jsonb[],
  p_run uuid[], p_meta jsonb[] default null, p_slot int default 0)
returns void language plpgsql set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  v_ord int[]; v_project uuid[]; v_workflow uuid[]; v_plan jsonb[];
  v_m_project uuid[]; v_m_priority smallint[]; v_message jsonb[];
begin
  select array_agg(v.project_id order by x.ord), array_agg(v.workflow_id order by x.ord),
         array_agg(v.plan -> x.trigger order by x.ord), array_agg(x.ord::int order by x.ord)
    into v_project, v_workflow, v_plan, v_ord
    from unnest(p_version, p_trigger) with ordinality x(version, trigger, ord)
    join meshhook.versions v on v.id = x.version and v.plan ? x.trigger;
  if coalesce(cardinality(v_ord), 0) <> cardinality(p_version) then
    raise exception 'no such version, or it has no such trigger' using errcode = 'P0002';
  end if;
  insert into meshhook.runs (id, project_id, workflow_id, version_id, trigger, last_seq, log_seq,
      status, ended_at, final_log_seq)
    select p_run[i], v_project[i], v_workflow[i], p_version[i], p_trigger[i],
           1 + jsonb_array_length(v_plan[i] -> 'events'), 1,
           coalesce(v_plan[i] #>> '{ends,status}', 'running'),
           case when v_plan[i] -> 'ends' ->> 'status' is not null then now() end,
           case when v_plan[i] -> 'ends' ->> 'status' is not null then 1 end
      from unnest(v_ord) i;
  insert into meshhook.run_events (run_id, seq, project_id, type, payload)
    select p_run[i], 1, v_project[i], 'run.started', jsonb_build_object('trigger', p_trigger[i],
             'input', p_input[i], 'meta', coalesce(p_meta[i], '{}'))
      from unnest(v_ord) i
    union all
    select p_run[i], 1 + e.ord, v_project[i], e.event ->> 'type', e.event -> 'payload'
      from unnest(v_ord) i, jsonb_array_elements(v_plan[i] -> 'events') with ordinality e(event, ord);
  insert into meshhook.steps (run_id, project_id, step, status, attempt, waits, live, seq)
    select p_run[i], v_project[i], s ->> 'step', s ->> 'status', (s ->> 'attempt')::int,
           (s ->> 'waits')::int, (s ->> 'live')::int, (s ->> 'seq')::int
      from unnest(v_ord) i, jsonb_array_elements(v_plan[i] -> 'steps') s;
  insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs)
    select p_run[i], 1, v_project[i], 9, 'run started by ' || p_trigger[i],
           jsonb_build_object('event', 'run.started', 'step', p_trigger[i])
      from unnest(v_ord) i;
  select array_agg(v_project[i] order by i, m.ord), array_agg(0::smallint),
         array_agg(m.message || jsonb_build_object('p', v_project[i], 'r', p_run[i]) order by i, m.ord)
    into v_m_project, v_m_priority, v_message
    from unnest(v_ord) i, jsonb_array_elements(v_plan[i] -> 'messages') with ordinality m(message, ord);
  if v_message is not null then
    perform meshhook_engine.send(v_m_project, v_m_priority, v_message, p_slot, true);
  end if;
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select v_project[i], m.metric, count(*)
      from unnest(v_ord) i, (values ('run.started'), ('log.lines')) m(metric) group by 1, 2;
  if exists (select from meshhook_engine.watched w where w.until > now()) then
    perform meshhook_engine.broadcast_runs(v_project, p_run);
    perform meshhook_engine.broadcast_touch(p_run, array_fill(0::bigint, array[cardinality(p_run)]));
  end if;
end $$;
comment on function meshhook_engine.start_runs is
  'Starts runs (parallel arrays; p_run: fresh UUIDv7s) in the caller''s transaction: run rows, first events as the version''s plan says, entry steps sent. P0002 when a version or its trigger doesn''t exist. Checks no rights: callers do.';

-- An endpoint with the secrets that are valid now, newest first.
create function meshhook_engine.endpoint_lookup(p_project text, p_endpoint text)
returns table (endpoint_id uuid, project_id uuid, secret_version int, sealed text,
  max_body_bytes int, enabled boolean, scheme jsonb, mapping text, headers text, rate int,
  burst int, keep_body boolean)
language sql stable security definer set search_path = '' as $$
  select e.id, e.project_id, s.secret_version, s.sealed, e.max_body_bytes, e.enabled, e.scheme,
         e.mapping, array_to_string(e.headers, ' '), e.rate, e.burst, e.keep_body_days is not null
    from meshhook.projects p
    join meshhook.endpoints e on e.project_id = p.id
    left join meshhook_engine.endpoint_secrets s on s.endpoint_id = e.id
     and (s.expires_at is null or s.expires_at > now())
   where (p.slug = p_project or p.id::text = p_project)
     and (e.slug = p_endpoint or e.id::text = p_endpoint)
     and (s.endpoint_id is not null or e.keyless)
   order by s.secret_version desc
$$;
comment on function meshhook_engine.endpoint_lookup is
  'The endpoint by slug or id, one row a valid secret (sealed under the intake key), newest first; one without a secret where it needs none; no row when there is none.';

-- A key that is the body's digest, for want of a better one, is good for a day: then the same
-- body is a new webhook.
create function meshhook_engine.forget_digests(p_endpoint uuid[], p_key text[]) returns void
language sql security definer set search_path = '' as $$
  delete from meshhook_engine.deliveries where ctid = any (array(
    select x.ctid from (select d.ctid, d.received_at from meshhook_engine.deliveries d
        join unnest(p_endpoint, p_key) x(endpoint, key) on d.endpoint_id = x.endpoint
         and d.dedupe_key = x.key
       where x.key like 'sha256:%' order by d.endpoint_id, d.dedupe_key for update of d) x
     where x.received_at < now() - interval '1 day'));
$$;
comment on function meshhook_engine.forget_digests is
  'Forget deliveries of more than a day ago that are told apart by their bodies alone.';

-- Into the run's own channel while that goes on, else into logs:webhooks:{project}:{endpoint}.
-- The caller holds the deliveries and their runs.
create function meshhook_engine.warn_redeliveries(p_endpoint uuid[], p_key text[], p_digest bytea[])
returns void language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  c_text constant text := 'webhook delivered again with another body: this run keeps the first';
  v_run uuid[]; v_base bigint[];
begin
  update meshhook_engine.deliveries d set digest = x.digest
    from unnest(p_endpoint, p_key, p_digest) x(endpoint, key, digest)
   where d.endpoint_id = x.endpoint and d.dedupe_key = x.key;
  with again as materialized (
    select d.run_id, d.endpoint_id, r.project_id, r.log_seq, r.status = 'running' as goes_on,
           jsonb_build_object('event', 'webhook.redelivered', 'webhook_id', x.key) as attrs,
           row_number() over (partition by d.run_id order by x.ord) as n
      from unnest(p_endpoint, p_key) with ordinality x(endpoint, key, ord)
      join meshhook_engine.deliveries d on d.endpoint_id = x.endpoint and d.dedupe_key = x.key
      left join meshhook.runs r on r.id = d.run_id),
  line as (
    insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs)
      select run_id, log_seq + n, project_id, 13, c_text, attrs from again where goes_on),
  elsewhere as (
    insert into meshhook_engine.staged_logs (project_id, service, resource, level, message, attrs)
      select e.project_id, 'webhooks', e.slug, 13, c_text, a.attrs || jsonb_build_object('run', a.run_id)
        from again a join meshhook.endpoints e on e.id = a.endpoint_id where a.goes_on is not true),
  moved as (
    update meshhook.runs r set log_seq = a.log_seq + a.n
      from (select run_id, log_seq, count(*)::int as n from again where goes_on group by 1, 2) a
     where r.id = a.run_id returning r.id, a.log_seq)
  select array_agg(id), array_agg(log_seq::bigint) into v_run, v_base from moved;
  if v_run is not null then
    perform meshhook_engine.broadcast_touch(v_run, v_base);
  end if;
end $$;
comment on function meshhook_engine.warn_redeliveries is
  'Say in runs'' logs that their webhooks (parallel arrays) came again with another body.';

-- Take webhooks in: one durable transaction for a batch. Keys are inserted, and those that are here
-- already locked, in their order; then the runs of these, by id; and only then anything is sent.
create function meshhook_engine.intake(p_endpoint uuid[], p_secret_version int[], p_key text[],
  p_input jsonb[], p_meta jsonb[], p_slot int default 0, p_digest bytea[] default '{}',
  p_body bytea[] default '{}', p_head jsonb[] default '{}')
returns table (ord int, outcome text, run_id uuid)
language plpgsql security definer set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_version uuid[]; v_trigger text[]; v_state text[]; v_run uuid[]; v_new int[];
  v_differs int[] := '{}';
begin
  select array_agg(v.id order by x.ord), array_agg(e.trigger order by x.ord),
         array_agg(case when e.id is null then 'unknown'
                        when not e.enabled or v.id is null
                          or s.secret_version is null and not (e.keyless and x.secret = 0)
                        then 'disabled'
                        else 'started' end order by x.ord)
    into v_version, v_trigger, v_state
    from unnest(p_endpoint, p_secret_version) with ordinality x(endpoint, secret, ord)
    left join meshhook.endpoints e on e.id = x.endpoint
    left join meshhook.workflows w on w.id = e.workflow_id
    left join meshhook.versions v on v.workflow_id = w.id and v.version = w.published_version
      and v.plan ? e.trigger
    left join meshhook_engine.endpoint_secrets s on s.endpoint_id = e.id
      and s.secret_version = x.secret and (s.expires_at is null or s.expires_at > now());
  v_run := array(select meshhook_engine.uuid7() from generate_series(1, cardinality(p_key)));
  if exists (select from unnest(p_key) k where k like 'sha256:%') then
    perform meshhook_engine.forget_digests(p_endpoint, p_key);
  end if;
  with won as (
    insert into meshhook_engine.deliveries as d (endpoint_id, dedupe_key, run_id, digest)
      select p_endpoint[i], p_key[i], v_run[i], p_digest[i] from generate_subscripts(p_key, 1) i
       where v_state[i] = 'started' order by p_endpoint[i], p_key[i]
    on conflict do nothing returning d.run_id)
  select array_agg(i) into v_new
    from generate_subscripts(v_run, 1) i join won on won.run_id = v_run[i];
  if coalesce(cardinality(v_new), 0) < cardinality(p_key) then
    v_differs := array(select x.i from (select i from generate_subscripts(p_key, 1) i
      join meshhook_engine.deliveries d on d.endpoint_id = p_endpoint[i] and d.dedupe_key = p_key[i]
      where v_state[i] = 'started' and not i = any (coalesce(v_new, '{}')) and d.digest <> p_digest[i]
      order by d.endpoint_id, d.dedupe_key, i for no key update of d) x);
    perform from meshhook.runs r where r.id in (select d.run_id from unnest(v_differs) i
        join meshhook_engine.deliveries d on d.endpoint_id = p_endpoint[i] and d.dedupe_key = p_key[i])
      order by r.id for no key update;
  end if;
  if v_new is not null then
    perform meshhook_engine.start_runs(array(select v_version[i] from unnest(v_new) i),
      array(select v_trigger[i] from unnest(v_new) i), array(select p_input[i] from unnest(v_new) i),
      array(select v_run[i] from unnest(v_new) i), array(select p_meta[i] from unnest(v_new) i), p_slot);
    if cardinality(array_remove(p_body, null)) > 0 then
      perform meshhook_engine.keep_bodies(array(select p_endpoint[i] from unnest(v_new) i),
        array(select v_run[i] from unnest(v_new) i), array(select p_body[i] from unnest(v_new) i),
        array(select p_head[i] from unnest(v_new) i));
    end if;
  end if;
  if coalesce(cardinality(v_new), 0) = cardinality(p_key) then
    return query select i, 'started', v_run[i] from generate_subscripts(p_key, 1) i;
    return;
  end if;
  if v_differs <> '{}' then
    perform meshhook_engine.warn_redeliveries(array(select p_endpoint[i] from unnest(v_differs) i),
      array(select p_key[i] from unnest(v_differs) i), array(select p_digest[i] from unnest(v_differs) i));
  end if;
  return query select i,
      case when v_state[i] <> 'started' then v_state[i]
           when i = any (v_new) then 'started'
           when i = any (v_differs) then 'differs' else 'duplicate' end,
      case when v_state[i] = 'started' then (select d.run_id from meshhook_engine.deliveries d
        where d.endpoint_id = p_endpoint[i] and d.dedupe_key = p_key[i]) end
    from generate_subscripts(p_key, 1) i order by i;
end $$;
comment on function meshhook_engine.intake is
  'Takes verified webhooks in (parallel arrays): started, duplicate (same endpoint and key: the same run), differs (the same with another body: also a warning in the run''s log), disabled, unknown. p_body: what is to be kept. All or nothing; durable when it returns to a client that committed.';

-- The queue's side of a commit, project by project: what it sends goes to the queue while the
-- window has room, counting what the same commit deleted; the rest waits in the backlog.
create function meshhook_engine.commit_send(p_slot int, p_project uuid[], p_run uuid[],
  p_gone int[], p_sd_item int[], p_sd_message jsonb[])
returns void language plpgsql set search_path = '' as $$
declare
  v_x record;
  v_may int;
  v_ahead int;
begin
  for v_x in
    select y.project, count(*) filter (where y.ord is null)::int as gone,
           coalesce(array_agg(y.ord order by y.ord) filter (where y.ord is not null), '{}') as sends
      from (select p_project[i] as project, null::int as ord from unnest(p_gone) i
            union all
            select p_project[s.item], s.ord::int
              from unnest(p_sd_item) with ordinality s(item, ord)) y
     group by y.project order by y.project
  loop
    v_may := cardinality(v_x.sends);
    if v_may > v_x.gone then
      v_may := least(v_may, v_x.gone
        + greatest(coalesce(meshhook_engine.admission_room(v_x.project), 0), 0));
    end if;
    v_ahead := 0;
    if v_x.gone < 50 and v_may > 0 then -- else it has many, without asking
      v_ahead := meshhook_engine.ahead_room(v_x.project, v_x.gone);
    end if;
    insert into pgmq.q_mh_work (vt, message)
      select meshhook_engine.sent_vt(m.ord <= v_ahead),
             p_sd_message[m.i] || jsonb_build_object('p', v_x.project, 'r', p_run[p_sd_item[m.i]])
        from unnest(v_x.sends[:v_may]) with ordinality m(i, ord);
    insert into meshhook_engine.backlog (project_id, message)
      select v_x.project, p_sd_message[i]
               || jsonb_build_object('p', v_x.project, 'r', p_run[p_sd_item[i]])
        from unnest(v_x.sends[v_may + 1:]) i;
    if v_may < cardinality(v_x.sends) then
      insert into meshhook_engine.counter_deltas (project_id, metric, delta)
        values (v_x.project, 'backlog', cardinality(v_x.sends) - v_may);
    end if;
    if v_may <> v_x.gone then
      perform meshhook_engine.admission_add(array[v_x.project], p_slot, array[v_may - v_x.gone]);
    end if;
  end loop;
end $$;
comment on function meshhook_engine.commit_send is
  'Sends a commit''s messages by project (p_gone: the item of each deleted message; p_sd_item, p_sd_message: what to send) and moves the counts of the queue.';

-- Record what a batch of items came to. Parallel arrays; *_item is an item's index from 1, and
-- no run has two items. Per item: p_run, p_base (the last_seq it was decided on), p_events and
-- p_lines (how many it appends), p_status and p_error (null unless the run ends).
-- Event seqs are p_base + 1 ...; a line's place in its item is p_lg_ord, from 1. p_st_new: this
-- step can't have a row yet (one edge in, first attempt, no timer); false is always right, and slower.
-- p_mg_wait, p_mg_time: buckets of how long an attempt waited and took, null for what is none; p_hs_n:
-- how many of the batch are in a cell of the histograms of the project of p_hs_item.
--
-- Answers one row an item that was not applied: 'stale' (the run moved: tail has the events after
-- p_base; nothing was written), 'resolved' (the run is over or gone: the item's messages are
-- deleted, nothing else). An item without events only deletes its messages, and is always applied.
-- A row of item 0, 'due': something is left to broadcast, call flush_broadcasts() soon.
-- A lease that is not held any more: SQLSTATE MH001, nothing is written; halve to find the item.
create function meshhook_engine.commit(p_slot int,
  p_run uuid[], p_base int[], p_events int[], p_lines int[], p_status text[], p_error jsonb[],
  p_mg_item int[], p_mg_id bigint[], p_mg_vt timestamptz[],
  p_ev_item int[], p_ev_seq int[], p_ev_type text[], p_ev_payload jsonb[],
  p_st_item int[], p_st_step text[], p_st_status text[], p_st_attempt int[], p_st_waits int[],
  p_st_live int[], p_st_seq int[], p_st_new boolean[],
  p_lg_item int[], p_lg_ord int[], p_lg_level smallint[], p_lg_message text[], p_lg_attrs jsonb[],
  p_sd_item int[], p_sd_message jsonb[],
  p_tm_item int[], p_tm_kind text[], p_tm_step text[], p_tm_attempt int[], p_tm_due timestamptz[],
  p_tm_message jsonb[],
  p_dl_item int[], p_dl_message jsonb[],
  p_mg_wait smallint[] default '{}', p_mg_time smallint[] default '{}',
  p_hs_item int[] default '{}', p_hs_cell smallint[] default '{}', p_hs_n int[] default '{}')
returns table (item int, outcome text, last_seq int, tail jsonb)
language plpgsql security definer set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_project uuid[]; v_last int[]; v_log int[]; v_running boolean[];
  v_ctid tid[];      -- of the locked rows: found again without walking their dead versions
  v_ok boolean[];    -- write all of the item
  v_drop boolean[];  -- delete its messages
  v_all boolean;
  v_n int; v_held int;
  v_due boolean;
  v_ahead int := 0;
begin
  -- 1. the runs, in their order
  select array_agg(x.project_id order by x.ord), array_agg(x.last_seq order by x.ord),
         array_agg(x.log_seq order by x.ord), array_agg(x.running order by x.ord),
         array_agg(x.ctid order by x.ord),
         array_agg(x.running and (x.events = 0 or x.last_seq = x.base) order by x.ord),
         array_agg(not x.running or x.events = 0 or x.last_seq = x.base order by x.ord)
    into v_project, v_last, v_log, v_running, v_ctid, v_ok, v_drop
    from (select i.ord, r.ctid, r.project_id, r.last_seq, r.log_seq, r.status = 'running' as running,
                 i.base, i.events
            from unnest(p_run, p_base, p_events) with ordinality i(run, base, events, ord)
            join meshhook.runs r on r.id = i.run
           order by r.id for no key update of r) x;
  if coalesce(cardinality(v_ok), 0) <> cardinality(p_run) then
    -- some run is gone: its messages say which project they counted for
    select array_agg(coalesce(r.project_id, (select (q.message ->> 'p')::uuid
             from unnest(p_mg_item, p_mg_id) m(item, id) join pgmq.q_mh_work q on q.msg_id = m.id
            where m.item = i.ord limit 1)) order by i.ord),
           array_agg(coalesce(r.last_seq, 0) order by i.ord),
           array_agg(coalesce(r.log_seq, 0) order by i.ord),
           array_agg(coalesce(r.status = 'running', false) order by i.ord),
           array_agg(r.ctid order by i.ord)
      into v_project, v_last, v_log, v_running, v_ctid
      from unnest(p_run) with ordinality i(run, ord) left join meshhook.runs r on r.id = i.run;
    select array_agg(v_running[i] and (p_events[i] = 0 or v_last[i] = p_base[i]) order by i),
           array_agg(not v_running[i] or p_events[i] = 0 or v_last[i] = p_base[i] order by i)
      into v_ok, v_drop from generate_subscripts(p_run, 1) i;
  end if;
  v_all := not (false = any (v_ok));

  -- 2. their messages, only where the lease is still ours
  delete from pgmq.q_mh_work q using unnest(p_mg_item, p_mg_id, p_mg_vt) m(item, id, vt)
   where q.msg_id = m.id and (q.vt = m.vt) is true and v_drop[m.item]; -- is true: by msg_id, not by vt
  get diagnostics v_n = row_count;
  v_held := cardinality(p_mg_id);
  if not v_all then
    v_held := (select count(*) from unnest(p_mg_item) m where v_drop[m]);
  end if;
  if v_n <> v_held then
    raise exception 'a lease is not held any more' using errcode = 'MH001';
  end if;

  -- 3. events, projection, lines, run rows
  insert into meshhook.run_events (run_id, seq, project_id, type, payload)
    select p_run[e.item], e.seq, v_project[e.item], e.type, e.payload
      from unnest(p_ev_item, p_ev_seq, p_ev_type, p_ev_payload) e(item, seq, type, payload)
     where v_ok[e.item];
  insert into meshhook.steps (run_id, project_id, step, status, attempt, waits, live, seq)
    select p_run[x.item], v_project[x.item], x.step, x.status, x.attempt, x.waits, x.live, x.seq
      from unnest(p_st_item, p_st_step, p_st_status, p_st_attempt, p_st_waits, p_st_live, p_st_seq,
                  p_st_new) x(item, step, status, attempt, waits, live, seq, fresh)
     where v_ok[x.item] and x.fresh;
  if false = any (p_st_new) then
    insert into meshhook.steps as s (run_id, project_id, step, status, attempt, waits, live, seq)
      select p_run[x.item], v_project[x.item], x.step, x.status, x.attempt, x.waits, x.live, x.seq
        from unnest(p_st_item, p_st_step, p_st_status, p_st_attempt, p_st_waits, p_st_live, p_st_seq,
                    p_st_new) x(item, step, status, attempt, waits, live, seq, fresh)
       where v_ok[x.item] and not x.fresh
    on conflict (run_id, step) do update set status = excluded.status, attempt = excluded.attempt,
      waits = excluded.waits, live = excluded.live, seq = excluded.seq;
  end if;
  insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs)
    select p_run[l.item], v_log[l.item] + l.ord, v_project[l.item], l.level, l.message, l.attrs
      from unnest(p_lg_item, p_lg_ord, p_lg_level, p_lg_message, p_lg_attrs)
           l(item, ord, level, message, attrs)
     where v_ok[l.item];
  update meshhook.runs r set last_seq = r.last_seq + x.events, log_seq = r.log_seq + x.lines,
         status = coalesce(x.status, r.status), error = coalesce(x.error, r.error),
         ended_at = case when x.status is null then r.ended_at else now() end,
         final_log_seq = case when x.status is null then r.final_log_seq else r.log_seq + x.lines end
    from unnest(v_ctid, p_events, p_lines, p_status, p_error, v_ok)
         x(ctid, events, lines, status, error, ok)
   where r.ctid = x.ctid and x.ok and x.events > 0;
  if 'failed' = any (p_status) then
    perform meshhook_engine.note_failed(array(select p_run[i] from generate_subscripts(p_run, 1) i
      where v_ok[i] and p_status[i] = 'failed'));
  end if;

  -- 4. timers
  if cardinality(p_tm_item) > 0 then
    insert into meshhook_engine.timers as t (run_id, kind, step, attempt, due_at, project_id, message)
      select p_run[x.item], x.kind, x.step, x.attempt, x.due, v_project[x.item],
             x.message || jsonb_build_object('p', v_project[x.item], 'r', p_run[x.item])
        from unnest(p_tm_item, p_tm_kind, p_tm_step, p_tm_attempt, p_tm_due, p_tm_message)
             x(item, kind, step, attempt, due, message)
       where v_ok[x.item]
    on conflict (run_id, kind, step, attempt) do nothing;
  end if;
  if cardinality(array_remove(p_status, null)) > 0 then
    delete from meshhook_engine.timers t using unnest(p_run, p_status, v_ok) x(run, status, ok)
     where t.run_id = x.run and x.status is not null and x.ok;
  end if;

  -- 5. the queue; in the common case one project sends no more than was deleted
  if v_all and v_project[1] = all (v_project) and cardinality(p_sd_item) <= v_n then
    if v_n < 50 and cardinality(p_sd_item) > 0 then -- else it has many, without asking
      v_ahead := meshhook_engine.ahead_room(v_project[1], v_n);
    end if;
    insert into pgmq.q_mh_work (vt, message)
      select meshhook_engine.sent_vt(s.ord <= v_ahead),
             s.message || jsonb_build_object('p', v_project[1], 'r', p_run[s.item])
        from unnest(p_sd_item, p_sd_message) with ordinality s(item, message, ord);
    if cardinality(p_sd_item) < v_n then
      perform meshhook_engine.admission_add(v_project[1:1], p_slot,
        array[cardinality(p_sd_item) - v_n]);
    end if;
  else
    perform meshhook_engine.commit_send(p_slot, v_project, p_run,
      array(select m from unnest(p_mg_item) m where v_drop[m]),
      array(select s from unnest(p_sd_item) s where v_ok[s]),
      array(select s.message from unnest(p_sd_item, p_sd_message) s(item, message) where v_ok[s.item]));
  end if;
  if cardinality(p_dl_item) > 0 then
    insert into pgmq.q_mh_dead (vt, message)
      select clock_timestamp(), d.message || jsonb_build_object('p', v_project[d.item], 'r', p_run[d.item])
        from unnest(p_dl_item, p_dl_message) d(item, message) where v_ok[d.item];
  end if;
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select v_project[e.item], e.type, count(*)
      from unnest(p_ev_item, p_ev_type) e(item, type) where v_ok[e.item] group by 1, 2
    union all
    select v_project[l.item], 'log.lines', count(*)
      from unnest(p_lg_item) l(item) where v_ok[l.item] group by 1
    union all
    select v_project[e.item], 'masked', sum((e.payload ->> 'masked')::bigint)
      from unnest(p_ev_item, p_ev_payload) e(item, payload)
     where v_ok[e.item] and e.payload ? 'masked' group by 1;
  if cardinality(p_hs_item) > 0 then
    insert into meshhook_engine.histogram_deltas (project_id, cells, counts)
      select v_project[h.item], array_agg(h.cell), array_agg(h.n)
        from (select c.* from unnest(p_hs_item, p_hs_cell, p_hs_n) c(item, cell, n) where v_all
              union all
              select m.item, c.cell, 1
                from unnest(p_mg_item, p_mg_wait, p_mg_time) m(item, wait, took),
                     lateral (values (m.wait), ((512 + m.took)::smallint)) c(cell)
               where not v_all and v_ok[m.item] and c.cell is not null) h
       group by 1;
  end if;

  -- 6. who watches is told, last: this may wait for a flush
  if exists (select from meshhook_engine.watched w where w.until > now()) then
    v_due := meshhook_engine.broadcast_touch(
      array(select p_run[i] from generate_subscripts(p_run, 1) i where v_ok[i] and p_lines[i] > 0 order by i),
      array(select v_log[i] from generate_subscripts(p_run, 1) i where v_ok[i] and p_lines[i] > 0 order by i));
    if cardinality(array_remove(p_status, null)) > 0 then
      perform meshhook_engine.broadcast_runs(
        array(select v_project[i] from generate_subscripts(p_run, 1) i where v_ok[i] and p_status[i] is not null order by i),
        array(select p_run[i] from generate_subscripts(p_run, 1) i where v_ok[i] and p_status[i] is not null order by i));
    end if;
    if v_due or exists (select from meshhook_engine.run_news) then
      return query select 0, 'due', null::int, null::jsonb;
    end if;
  end if;

  if v_all then
    return;
  end if;
  return query
    select i, case when v_running[i] then 'stale' else 'resolved' end, v_last[i],
           case when v_running[i] then (select jsonb_agg(jsonb_build_object('seq', e.seq,
               'type', e.type, 'payload', e.payload) order by e.seq)
             from meshhook.run_events e where e.run_id = p_run[i] and e.seq > p_base[i]) end
      from generate_subscripts(p_run, 1) i where not v_ok[i];
end $$;
comment on function meshhook_engine.commit is
  'Records a batch of decided items in one transaction (docs/decisions/0001; the comment above the function has the parameters). Returns a row for each item that was not applied: stale with the missed events, or resolved; and one of item 0, due, where flush_broadcasts() should be called soon. MH001: a lease is not held any more, nothing was written.';

