-- What a run waits for, computed from where its steps, timers and messages stand.

create function meshhook_engine.explain(p_run uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_run meshhook.runs;
  v_timer meshhook_engine.timers;
  v_message record;
  v_failed jsonb;
  v_attempts text;
  v_before bigint; v_rate float8; v_seconds float8;
  v_seen timestamptz;
  v_now timestamptz := clock_timestamp();
  v_clock constant text := 'YYYY-MM-DD HH24:MI:SS';
begin
  select * into v_run from meshhook.runs where id = p_run;
  if not found then
    raise exception 'no such run' using errcode = 'PT404';
  end if;
  if v_run.status <> 'running' then
    return jsonb_strip_nulls(jsonb_build_object('run', p_run, 'status', v_run.status, 'cause', 'ended',
      'text', v_run.status || ' at ' || to_char(v_run.ended_at at time zone 'UTC', v_clock) || ' UTC'
        || coalesce(': step ' || (v_run.error ->> 'step'), '') || coalesce(', ' || (v_run.error ->> 'code'), '')
        || coalesce(', ' || (v_run.error ->> 'message'), ''),
      'since', v_run.ended_at, 'error', v_run.error));
  end if;
  select w.seen_at into v_seen from meshhook.workers w
   where w.kind = 'worker' order by w.seen_at desc limit 1;

  -- a message of its own, in the queue or (first 10,000 of its project) in the backlog
  select 'queue' as at, q.message, q.vt, q.read_ct into v_message
    from pgmq.q_mh_work q where q.message ->> 'r' = p_run::text order by q.vt > v_now desc, q.vt limit 1;
  if not found then
    select 'backlog' as at, b.message, null::timestamptz as vt, b.ord as read_ct into v_message
      from (select x.message, row_number() over (order by x.priority, x.id) as ord
              from (select x.* from meshhook_engine.backlog x where x.project_id = v_run.project_id
                     order by x.priority, x.id limit 10000) x) b
     where b.message ->> 'r' = p_run::text order by b.ord limit 1;
  end if;
  if v_message.at = 'queue' and v_message.vt > v_now then
    return jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'in_flight',
      'step', v_message.message ->> 'n', 'attempt', v_message.message -> 'a',
      'text', format('a worker carries out step %s, attempt %s; if it dies, another begins in %s s',
        v_message.message ->> 'n', v_message.message ->> 'a', ceil(extract(epoch from v_message.vt - v_now))),
      'until', v_message.vt);
  elsif v_message.at is not null and (v_seen is null or v_seen < v_now - interval '40 seconds') then
    return jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'no_worker',
      'step', v_message.message ->> 'n', 'text', format('step %s is ready, but no worker %s',
        v_message.message ->> 'n', case when v_seen is null then 'has ever reported'
          else format('has reported for %s s', floor(extract(epoch from v_now - v_seen))) end),
      'since', v_seen);
  elsif v_message.at = 'queue' then
    return jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'ready',
      'step', v_message.message ->> 'n', 'attempt', v_message.message -> 'a',
      'text', format('step %s is ready and will be taken next', v_message.message ->> 'n'));
  elsif v_message.at = 'backlog' then
    v_before := v_message.read_ct;
    select (n.steps - o.steps) / nullif(extract(epoch from n.at - o.at), 0) into v_rate
      from (select m.at, (m.data ->> 'steps_total')::float8 as steps from meshhook.queue_metrics m
             where m.project_id = v_run.project_id and m.at > v_now - interval '5 minutes'
               and m.data ? 'steps_total' order by m.at desc limit 1) n,
           (select m.at, (m.data ->> 'steps_total')::float8 as steps from meshhook.queue_metrics m
             where m.project_id = v_run.project_id and m.at > v_now - interval '5 minutes'
               and m.data ? 'steps_total' order by m.at limit 1) o;
    v_seconds := ceil(v_before / nullif(v_rate, 0));
    return jsonb_strip_nulls(jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'window_full',
      'step', v_message.message ->> 'n', 'ahead', v_before - 1,
      'text', format('its project''s window (%s) is full: %s before it in the backlog',
          (select p.window_size from meshhook.projects p where p.id = v_run.project_id), v_before - 1)
        || coalesce(', about ' || v_seconds || ' s', ''),
      'seconds', v_seconds));
  end if;

  select * into v_timer from meshhook_engine.timers t where t.run_id = p_run order by t.due_at limit 1;
  if found and v_timer.kind = 'retry' then
    select e.payload into v_failed from meshhook.run_events e
     where e.run_id = p_run and e.type = 'step.failed' and e.payload ->> 'step' = v_timer.step
     order by e.seq desc limit 1;
    select n -> 'retry' ->> 'attempts' into v_attempts from meshhook.versions v,
      jsonb_array_elements(v.definition -> 'nodes') n where v.id = v_run.version_id and n ->> 'id' = v_timer.step;
    return jsonb_strip_nulls(jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'retry',
      'step', v_timer.step, 'attempt', v_timer.attempt,
      'text', format('attempt %s%s of step %s at %s UTC', v_timer.attempt, coalesce(' of ' || v_attempts, ''),
        v_timer.step, to_char(v_timer.due_at at time zone 'UTC', v_clock))
        || coalesce(', because of ' || (v_failed ->> 'code'), ''),
      'code', v_failed -> 'code', 'until', v_timer.due_at));
  elsif v_timer.run_id is not null then
    return jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'timer', 'step', v_timer.step,
      'text', format('step %s waits until %s UTC', v_timer.step, to_char(v_timer.due_at at time zone 'UTC', v_clock)),
      'until', v_timer.due_at);
  end if;
  return jsonb_build_object('run', p_run, 'status', 'running', 'cause', 'unknown',
    'text', 'nothing of it is in the queue, the backlog or the timers: run meshhook doctor');
end $$;
comment on function meshhook_engine.explain(uuid) is 'explain for whoever may execute it.';

create function meshhook_engine.explain_as_member(p_run uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member((select project_id from meshhook.runs where id = p_run), 'viewer');
  return meshhook_engine.explain(p_run);
end $$;
comment on function meshhook_engine.explain_as_member(uuid) is 'explain for a project''s members.';

create function meshhook.explain(run uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('meshhook_engine.explain(uuid)', 'execute') then
    return meshhook_engine.explain($1);
  end if;
  return meshhook_engine.explain_as_member($1);
end $$;
comment on function meshhook.explain(uuid) is
  'The one cause for which a run stands where it stands: {run, status, cause, text, ...}. cause: ended, in_flight, ready, no_worker, window_full (with ahead and seconds), retry, timer, unknown. Viewers may.';
