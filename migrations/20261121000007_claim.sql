-- The hot path's other half: claim, extend, release. docs/decisions/0001 to 0003 say why they are
-- as they are. The planner settings keep joins on their indexes, as in the file of commit.

-- Lease what is ready in a range of vt, oldest first.
create function meshhook_engine.claim_lane(p_from timestamptz, p_to timestamptz, p_qty int,
  p_vt timestamptz, out ids bigint[], out reads int[], out messages jsonb[], out ready timestamptz[],
  out newest timestamptz)
language plpgsql set search_path = '' as $$
begin
  with ready as (
    update pgmq.q_mh_work q set vt = p_vt, read_ct = q.read_ct + 1
      from (select r.ctid, r.vt from pgmq.q_mh_work r
             where r.vt >= p_from and r.vt <= p_to
             order by r.vt limit p_qty for update skip locked) r
     where q.ctid = r.ctid
    returning q.msg_id, q.read_ct, q.message, r.vt as was)
  select coalesce(array_agg(r.msg_id), '{}'), coalesce(array_agg(r.read_ct), '{}'),
         coalesce(array_agg(r.message), '{}'), coalesce(array_agg(r.was), '{}'), max(r.was)
    into ids, reads, messages, ready, newest from ready r;
end $$;
comment on function meshhook_engine.claim_lane is
  'Leases up to p_qty messages with p_from <= vt <= p_to until p_vt, oldest first. ready: the vt that each had; newest: the newest of those.';

-- What is delivered for the third time may be what its workers die of. Of a claim with such only they
-- are kept, the fewer the more often they were delivered: 32, 8, 2, then each alone.
create function meshhook_engine.claim_suspects(p_ids bigint[], p_reads int[], p_now timestamptz,
  out kept int[])
language plpgsql set search_path = '' as $$
declare
  v_most int := 32;
begin
  kept := '{}';
  for i in 1 .. cardinality(p_ids) loop
    continue when p_reads[i] < 3;
    v_most := least(v_most, greatest(32 >> 2 * least(p_reads[i] - 3, 3), 1));
    exit when cardinality(kept) > 0 and cardinality(kept) >= v_most;
    kept := kept || i;
  end loop;
  update pgmq.q_mh_work q set vt = p_now, read_ct = q.read_ct - 1
    from unnest(p_ids) with ordinality x(id, ord)
   where q.msg_id = x.id and not x.ord = any (kept);
end $$;
comment on function meshhook_engine.claim_suspects is
  'Puts back all but a few messages on their third delivery or later of a claim that has such; kept: their places in it.';

-- Due timers become leased messages. What a limit chose is asked for once, as an array: joined, the
-- planner may take it up again for each row, and each time it locks as many others.
create function meshhook_engine.claim_timers(p_qty int, p_now timestamptz, p_vt timestamptz,
  out ids bigint[], out messages jsonb[], out ready timestamptz[], out projects uuid[])
language plpgsql set search_path = '' as $$
begin
  with due as (
    delete from meshhook_engine.timers t where t.ctid = any (array(
        select d.ctid from meshhook_engine.timers d
         where d.due_at <= p_now order by d.due_at limit p_qty for update skip locked))
    returning t.project_id, t.message, t.due_at)
  select array_agg(message order by due_at), array_agg(due_at order by due_at),
         coalesce(array_agg(project_id order by due_at), '{}')
    into messages, ready, projects from due;
  with q as (
    insert into pgmq.q_mh_work (vt, read_ct, message, enqueued_at)
      select p_vt, 1, m.message, m.ready from unnest(messages, ready) m(message, ready)
    returning msg_id, message, enqueued_at)
  select coalesce(array_agg(msg_id), '{}'), coalesce(array_agg(message), '{}'),
         coalesce(array_agg(enqueued_at), '{}') into ids, messages, ready from q;
end $$;
comment on function meshhook_engine.claim_timers is
  'Moves up to p_qty timers due at p_now into the queue, leased until p_vt; their messages. ready: when each was due; projects: whose each is, for the caller to count.';

-- Admit from the backlog, round-robin by project after p_after, already leased. p_counted: the
-- projects of messages that came but are not counted yet.
create function meshhook_engine.claim_backlog(p_qty int, p_vt timestamptz, p_after uuid,
  p_counted uuid[], out ids bigint[], out messages jsonb[], out ready timestamptz[],
  out projects uuid[], out last_project uuid)
language plpgsql set search_path = '' as $$
declare
  v_projects uuid[]; v_left int; v_room int; v_ids bigint[]; v_messages jsonb[]; v_ready timestamptz[];
begin
  ids := '{}';
  messages := '{}';
  ready := '{}';
  projects := '{}';
  with recursive p(id) as (
    (select b.project_id from meshhook_engine.backlog b
      where b.project_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
      order by b.project_id limit 1)
    union all
    select (select b.project_id from meshhook_engine.backlog b
             where b.project_id > p.id order by b.project_id limit 1)
      from p where p.id is not null)
  select array_agg(x.id order by x.id) into v_projects
    from (select id from p where id is not null limit least(p_qty, 64)) x;
  v_left := coalesce(cardinality(v_projects), 0);
  if v_left = least(p_qty, 64) then
    last_project := v_projects[v_left]; -- else null: the next round begins at the front
  end if;
  for i in 1 .. v_left loop
    v_room := least(ceil((p_qty - cardinality(ids))::numeric / (v_left - i + 1)),
      meshhook_engine.admission_room(v_projects[i])
        - cardinality(array_positions(p_counted, v_projects[i])));
    continue when v_room <= 0;
    with taken as (
      delete from meshhook_engine.backlog b where b.ctid = any (array(
          select x.ctid from meshhook_engine.backlog x
           where x.project_id = v_projects[i]
           order by x.priority, x.id limit v_room for update skip locked))
      returning b.priority, b.id, b.message, b.at),
    q as (insert into pgmq.q_mh_work (vt, read_ct, message, enqueued_at)
            select p_vt, 1, t.message, t.at from taken t order by t.priority, t.id returning msg_id, message, enqueued_at)
    select array_agg(msg_id), array_agg(message), array_agg(enqueued_at) into v_ids, v_messages, v_ready from q;
    continue when v_ids is null;
    insert into meshhook_engine.counter_deltas (project_id, metric, delta)
      values (v_projects[i], 'backlog', -cardinality(v_ids));
    ids := ids || v_ids;
    messages := messages || v_messages;
    ready := ready || v_ready;
    projects := projects || array_fill(v_projects[i], array[cardinality(v_ids)]);
  end loop;
end $$;
comment on function meshhook_engine.claim_backlog is
  'Admits up to p_qty messages from the backlog, an equal share a project (64 at most), beginning after p_after; they enter the queue leased until p_vt. ready: since when each waited; projects: whose each is, for the caller to count; last_project: where the next round begins, null for the front.';

-- What a message's step reads: the input, outputs by step, and rows of steps. Rows are asked for by
-- `any`, and events one by one (offset 0): a join may read all steps of the run, whatever it has.
-- Once for each message that is claimed: so only what it asks for is begun, by plans that are kept.
create function meshhook_engine.slice(p_run uuid, p_message jsonb)
returns jsonb language plpgsql stable set search_path = '' set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  v_input jsonb; v_outputs jsonb; v_rows jsonb;
begin
  if p_message -> 'i' = 'true' then
    select e.payload -> 'input' into v_input
      from meshhook.run_events e where e.run_id = p_run and e.seq = 1;
  end if;
  if p_message ? 'o' then
    select jsonb_object_agg(s.step, e.output) into v_outputs
      from meshhook.steps s cross join lateral (select e.payload -> 'output' as output
        from meshhook.run_events e where e.run_id = p_run and e.seq = s.seq offset 0) e
     where s.run_id = p_run
       and s.step = any (array(select jsonb_array_elements_text(p_message -> 'o')));
  end if;
  if p_message ? 'j' or p_message ->> 'k' <> 'step' then
    select jsonb_agg(jsonb_build_array(s.step, s.status, s.attempt, s.waits, s.live, s.seq)) into v_rows
      from meshhook.steps s
     where s.run_id = p_run
       and s.step = any (array(select jsonb_array_elements_text(p_message -> 'j'))
         || case when p_message ->> 'k' <> 'step' then p_message ->> 'n' end);
  end if;
  return jsonb_build_object('input', v_input, 'outputs', v_outputs, 'rows', v_rows);
end $$;
comment on function meshhook_engine.slice is
  'What the step of this message needs to be decided: {input, outputs: {step: output}, rows: [[step, status, attempt, waits, live, seq]]}, each null when the message doesn''t ask for it (docs/decisions/0001).';

-- Take up to p_qty messages, leased for p_lease_ms, with all that is needed to decide.
-- The first row is a header: msg_id null; vt = the database's now; started_at = when the next timer
-- is due; version_id and floor = p_after and p_floor of the next call; read_ct = microseconds that
-- reading the queue took; last_seq = 1 when more may be ready than was taken, + 2 when there is a
-- backlog, for which any commit may make room. ready_at: since when a message could have been taken: it was sent (to the
-- queue or the backlog), its timer was due, or its last lease ran out. A message whose run is over or
-- gone comes with version_id null: commit it as an item without events, and it is deleted.
--
-- p_floor: where to begin in the queue's vt index. What lies below was taken, or deleted, when the
-- floor was learnt, and while some transaction holds an old snapshot every deleted entry there
-- must be walked again. Null begins at the front, which is always right: a message that became
-- visible late (sent in a long transaction) is only found so. Call it so as often as it is cheap.
--
-- Commits asynchronously: a lease that a crash forgets costs a repeat, never a record.
create function meshhook_engine.claim(p_qty int, p_lease_ms int, p_slot int default 0,
  p_after uuid default null, p_floor timestamptz default null)
returns table (msg_id bigint, vt timestamptz, read_ct int, message jsonb, last_seq int,
  version_id uuid, started_at timestamptz, trigger text, slice jsonb, floor timestamptz,
  ready_at timestamptz)
language plpgsql security definer set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_vt timestamptz := v_now + p_lease_ms * interval '1 millisecond';
  c_lane constant interval := '876000 hours'; -- as in sent_vt()
  v_edge timestamptz := v_now - c_lane / 2; -- between the lanes
  v_waiting boolean := exists (select from meshhook_engine.backlog);
  v_next timestamptz := (select t.due_at from meshhook_engine.timers t order by t.due_at limit 1);
  v_kept_back int := 0; v_more int;
  v_begin timestamptz; v_first timestamptz; v_left int; v_half int := 0;
  v_ahead record; v_common record;
  v_ids bigint[]; v_reads int[]; v_messages jsonb[]; v_ready timestamptz[];
  v_new_ids bigint[]; v_new jsonb[]; v_new_ready timestamptz[];
  v_came uuid[] := '{}'; v_from uuid[];
  v_kept int[];
  v_after uuid; v_last timestamptz := v_now; v_took int;
begin
  perform set_config('synchronous_commit', 'off', true);
  -- the ready ones; a quarter (of one message: now and then) is for those who wait, in the backlog
  -- or for their time, and half of the rest for the common lane
  if v_waiting or v_next <= v_now then
    v_kept_back := floor(p_qty / 4.0 + random());
  end if;
  v_left := p_qty - v_kept_back;
  v_begin := greatest(p_floor, v_edge);
  v_first := (select q.vt from pgmq.q_mh_work q where q.vt >= v_begin and q.vt <= v_now order by q.vt limit 1);
  if v_first is not null then
    v_half := v_left / 2;
  end if;
  select * into v_ahead from meshhook_engine.claim_lane(coalesce(p_floor - c_lane, '-infinity'),
    v_edge, v_left - v_half, v_vt);
  -- what is dead before the first was walked already
  select * into v_common from meshhook_engine.claim_lane(coalesce(v_first, v_now), v_now,
    v_left - cardinality(v_ahead.ids), v_vt);
  v_ids := v_ahead.ids || v_common.ids;
  v_reads := v_ahead.reads || v_common.reads;
  v_messages := v_ahead.messages || v_common.messages;
  v_ready := v_ahead.ready || v_common.ready;
  v_took := extract(microseconds from clock_timestamp() - v_now);
  -- a lane that was read as far as was asked for may hold more; null, when nothing was asked for
  v_more := (cardinality(v_ids) = v_left)::int;
  if v_more = 1 then
    v_last := v_common.newest;
  end if;
  if cardinality(v_ahead.ids) = v_left - v_half and v_ahead.newest + c_lane < v_last then
    v_last := v_ahead.newest + c_lane;
  end if;
  v_left := p_qty - cardinality(v_ids);
  if 3 <= any (v_reads) then
    v_kept := meshhook_engine.claim_suspects(v_ids, v_reads, v_now);
    select array_agg(v_ids[i]), array_agg(v_reads[i]), array_agg(v_messages[i]), array_agg(v_ready[i])
      into v_ids, v_reads, v_messages, v_ready from unnest(v_kept) i;
    v_left := 0;
  end if;
  if v_left > 0 and v_next <= v_now then
    select t.ids, t.messages, t.ready, t.projects into v_new_ids, v_new, v_new_ready, v_came
      from meshhook_engine.claim_timers(case when v_waiting then (v_left + 1) / 2 else v_left end,
        v_now, v_vt) t;
    v_ids := v_ids || v_new_ids;
    v_messages := v_messages || v_new;
    v_ready := v_ready || v_new_ready;
    v_left := p_qty - cardinality(v_ids);
    v_next := (select t.due_at from meshhook_engine.timers t order by t.due_at limit 1);
  end if;
  if v_waiting and v_left > 0 then
    select b.ids, b.messages, b.ready, b.projects, b.last_project
      into v_new_ids, v_new, v_new_ready, v_from, v_after
      from meshhook_engine.claim_backlog(v_left, v_vt, p_after, v_came) b;
    v_ids := v_ids || v_new_ids;
    v_messages := v_messages || v_new;
    v_ready := v_ready || v_new_ready;
    v_came := v_came || v_from;
  end if;
  if v_came <> '{}' then -- at once, in the order of the projects
    perform meshhook_engine.admission_add(v_came, p_slot, array_fill(1, array[cardinality(v_came)]));
  end if;
  return query select null::bigint, v_now, v_took, null::jsonb,
    v_more + 2 * v_waiting::int, v_after, v_next, null::text,
    null::jsonb, v_last - interval '100 milliseconds', null::timestamptz;
  return query
    select m.id, v_vt, coalesce(m.reads, 1), m.message, r.last_seq, r.version_id, r.created_at,
           r.trigger,
           case when m.message ?| '{i,o,j}' or m.message ->> 'k' <> 'step'
                then meshhook_engine.slice(r.id, m.message) end,
           null::timestamptz,
           case when m.ready < v_edge then m.ready + c_lane else m.ready end
      from unnest(v_ids, v_reads, v_messages, v_ready) m(id, reads, message, ready)
      left join meshhook.runs r on r.id = (m.message ->> 'r')::uuid and r.status = 'running';
end $$;
comment on function meshhook_engine.claim is
  'Leases up to p_qty messages for p_lease_ms (ready ones, due timers, then the backlog round-robin) and returns each with its run''s last_seq, version and slice, and since when it was ready. The first row is a header: vt = the database''s now, started_at = next timer due, version_id and floor = p_after and p_floor of the next call, read_ct = microseconds that reading the queue took, last_seq = 1 when more may be ready, + 2 when there is a backlog.';

-- Keep leases for p_lease_ms more, where the message still has the vt that was given.
create function meshhook_engine.extend(p_id bigint[], p_vt timestamptz[], p_lease_ms int)
returns table (msg_id bigint, vt timestamptz)
language plpgsql security definer set search_path = '' 
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_vt timestamptz := clock_timestamp() + p_lease_ms * interval '1 millisecond';
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
    update pgmq.q_mh_work q set vt = v_vt
      from (select * from unnest(p_id, p_vt) m(id, vt) order by id) m where q.msg_id = m.id and (q.vt = m.vt) is true
    returning q.msg_id, q.vt;
end $$;
comment on function meshhook_engine.extend is
  'Extends leases (parallel arrays: message, the vt it was given) to p_lease_ms from now; returns those that were still held, with their new vt.';

-- Give leases back unused: ready at once, and the delivery doesn't count.
create function meshhook_engine.release(p_id bigint[], p_vt timestamptz[])
returns int language plpgsql security definer set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  n int;
begin
  perform set_config('synchronous_commit', 'off', true);
  update pgmq.q_mh_work q set vt = clock_timestamp(), read_ct = greatest(q.read_ct - 1, 0)
    from (select * from unnest(p_id, p_vt) m(id, vt) order by id) m
   where q.msg_id = m.id and (q.vt = m.vt) is true;
  get diagnostics n = row_count;
  return n;
end $$;
comment on function meshhook_engine.release is
  'Gives leases back unused (parallel arrays: message, the vt it was given): ready at once, the delivery isn''t counted. How many were still held.';

-- Nothing guards the queue against what isn't ours, as a message sent by hand; a claim that meets it may
-- fail as a whole, for everybody and for ever. So a worker to which that happens has it taken away.
create function meshhook_engine.bury_foreign() returns int
language plpgsql security definer set search_path = '' as $$
declare
  c_uuid constant text := '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
  n int;
begin
  with foreign_one as (
    delete from pgmq.q_mh_work where msg_id = any (array(
      select q.msg_id from pgmq.q_mh_work q
       where (jsonb_typeof(q.message) = 'object' and q.message ->> 'r' ~ c_uuid and q.message ->> 'p' ~ c_uuid
         and coalesce(jsonb_typeof(q.message -> 'o'), 'array') = 'array'
         and coalesce(jsonb_typeof(q.message -> 'j'), 'array') = 'array') is not true
       for update skip locked))
    returning message)
  insert into pgmq.q_mh_dead (vt, message)
    select clock_timestamp(), jsonb_build_object('message', f.message, 'error',
        '{"code": "MESSAGE", "message": "not a message of the engine''s"}'::jsonb) from foreign_one f;
  get diagnostics n = row_count;
  return n;
end $$;
comment on function meshhook_engine.bury_foreign is
  'Moves messages that are not the engine''s from mh_work to mh_dead; how many. For a worker whose claim failed for what is in a message.';

-- Is anything left that a worker would have to do? What others hold counts: it may come back.
create function meshhook_engine.left_to_do(p_within_ms int)
returns boolean language sql stable security definer set search_path = '' as $$
  select exists (select from pgmq.q_mh_work) or exists (select from meshhook_engine.backlog)
    or exists (select from meshhook_engine.timers t
                where t.due_at <= clock_timestamp() + p_within_ms * interval '1 millisecond')
$$;
comment on function meshhook_engine.left_to_do is
  'Whether the queue (what workers hold included) or the backlog holds anything, or a timer is due within p_within_ms.';
