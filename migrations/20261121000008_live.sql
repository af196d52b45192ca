-- Live logs: who watches what, and what they are told. docs/decisions/0007 says why it is so.
--
-- A reader calls watch(), subscribes to the topic that it returns, and fetches from its cursor.
-- Whoever writes lines afterwards broadcasts them (the leading edge), or leaves them to
-- flush_broadcasts(), which workers and gateways call. Realtime may lose any of it: lines carry
-- their numbers, so a reader sees a hole, and the renewal of its watch tells the last number.
--
-- Whoever holds a channel's lock may wait for its row in watched, never the other way round. flush_broadcasts() holds the row of live and
-- waits for nothing: it takes rows of watched as it finds them free. Nobody else locks live.

-- What everybody who broadcasts goes by. tokens: of a bucket, in events as Realtime's quota counts
-- them: one a message, one more for each that receives it.
create table meshhook_engine.live (
  singleton boolean primary key default true check (singleton),
  quota int not null default 100 check (quota > 0),
  share real not null default 0.5 check (share > 0 and share <= 1),
  interval_ms int not null default 50 check (interval_ms > 0),
  tokens real not null default 25,
  refilled_at timestamptz not null default now(),
  swept_at timestamptz not null default now()
) with (fillfactor = 10);
insert into meshhook_engine.live default values;

-- Channels that somebody watches. sent_seq: the last line that was broadcast, or was there when
-- the watch began. due_at: when the rest may be sent; null: nothing to send. generation: of the
-- topic that its readers were told. kind runs: the id is the project's, and what to send is in
-- run_news; health: an id made of it, due with each tick of the monitor.
create table meshhook_engine.watched (
  channel_id uuid primary key,
  project_id uuid not null,
  kind text not null check (kind in ('run', 'channel', 'runs', 'health')),
  channel text not null,
  generation int not null,
  until timestamptz not null,
  readers int not null default 0,
  sent_at timestamptz not null default '-infinity',
  sent_seq bigint not null default 0,
  due_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
create index watched_until on meshhook_engine.watched (until);
create index watched_due on meshhook_engine.watched (due_at) where due_at is not null;

create table meshhook_engine.watchers (
  channel_id uuid not null,
  reader uuid not null,
  user_id uuid,
  until timestamptz not null,
  primary key (channel_id, reader)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index watchers_until on meshhook_engine.watchers (until);
create index watchers_user on meshhook_engine.watchers (user_id);

-- What must not wait for a lock is only added here, and taken by flush_broadcasts().
create table meshhook_engine.spent (
  events int not null
) with (autovacuum_vacuum_scale_factor = 0.02);
create table meshhook_engine.run_news (
  channel_id uuid not null,
  run_id uuid
) with (autovacuum_vacuum_scale_factor = 0.02);
create index run_news_channel on meshhook_engine.run_news (channel_id);

alter table meshhook.projects add column broadcast text not null default 'watched'
  check (broadcast in ('watched', 'all', 'off'));

comment on table meshhook_engine.live is 'One row: the quota of Realtime''s deliveries and how much of it is ours.';
comment on column meshhook_engine.live.quota is 'Events a second that the Supabase plan grants, for the whole project: a message is one, and each delivery of it another.';
comment on column meshhook_engine.live.share is 'How much of the quota live logs may use; the rest is for your app.';
comment on column meshhook_engine.live.interval_ms is 'The least time between two messages of a channel.';
comment on table meshhook_engine.watched is 'Channels that somebody watches, and how far they were told.';
comment on table meshhook_engine.watchers is 'Who watches which channel, until when.';
comment on table meshhook_engine.spent is 'Events of messages sent with the lines themselves; flush_broadcasts() takes them from the tokens.';
comment on table meshhook_engine.run_news is 'Runs that started or ended and whose project''s runs are watched; without a run: lines of a transaction that could not look, or a topic that moved.';
comment on column meshhook.projects.broadcast is 'What Realtime is told: watched channels (the default), all, or nothing (off).';

-- Channels by name ---------------------------------------------------------------------------

-- logs:run:{project}:{run}, logs:{service}:{project}[:{resource}], runs:{project},
-- health:{project}; a project by id or slug. No row: no such channel. channel_id null: the project is there, the channel isn't.
create function meshhook_engine.find_channel(p_channel text)
returns table (project_id uuid, generation int, broadcast text, kind text, channel_id uuid,
  channel text, epoch int, last_seq bigint, final_seq bigint)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_part text[] := string_to_array(p_channel, ':');
  v_n int := cardinality(v_part);
  v_uuid constant text := '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
  v_name text := case when v_part[1] in ('runs', 'health') and v_n = 2 then v_part[2]
                      when v_part[1] = 'logs' and v_n in (3, 4) then v_part[3] end;
  v_run uuid := case when v_part[2] = 'run' and v_n = 4 and v_part[4] ~ v_uuid then v_part[4]::uuid end;
begin
  if v_name is null then
    return;
  end if;
  return query
    select p.id, p.generation, p.broadcast,
           case when v_n = 2 then v_part[1] when v_part[2] = 'run' then 'run' else 'channel' end,
           case when v_part[1] = 'health' then md5('health:' || p.id)::uuid
                when v_n = 2 then p.id else coalesce(r.id, c.id) end,
           case when v_n = 2 then v_part[1] || ':' || p.id when r.id is not null
                then 'logs:run:' || p.id || ':' || r.id
                else 'logs:' || c.service || ':' || p.id || coalesce(':' || nullif(c.resource, ''), '') end,
           case when v_n = 2 then 0 else coalesce(r.log_epoch, c.epoch) end,
           coalesce(r.log_seq, c.last_seq), r.final_log_seq::bigint
      from meshhook.projects p
      left join meshhook.runs r on r.id = v_run and r.project_id = p.id
      left join meshhook.channels c on v_n > 2 and v_part[2] <> 'run' and c.project_id = p.id
        and c.service = v_part[2] and c.resource = coalesce(v_part[4], '')
     where p.id = case when v_name ~ v_uuid then v_name::uuid end or p.slug = v_name;
end $$;
comment on function meshhook_engine.find_channel is
  'A channel by name, with its project by id or slug: one row, whose channel_id is null where only the project is there. Checks no rights.';

create function meshhook_engine.topic(p_generation int, p_channel text) returns text
language sql immutable parallel safe
return 'mh:' || p_generation || ':' || p_channel;
comment on function meshhook_engine.topic is
  'The topic in Realtime of a channel (with its project''s id) in this generation of its project.';

-- Watching -----------------------------------------------------------------------------------

-- The channel's own lock stands between a watch and every commit: a commit before it is in
-- last_seq, one behind it finds the watch. While the watch has half its life ahead there is
-- nothing to write, and no lock to take: every commit that isn't in last_seq finds it.
create function meshhook_engine.watch(p_channel text, p_reader uuid)
returns table (topic text, epoch int, last_seq bigint, ended boolean, interval_ms int)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_life constant interval := '40 seconds';
  v_most constant int := 500; -- of a user's watches
  v_most_here constant int := 20; -- of those, of one channel: each slows it down for all
  v_user uuid := auth.uid();
  v_reader uuid := coalesce(p_reader, v_user, '00000000-0000-0000-0000-000000000000');
  v_now timestamptz := clock_timestamp();
  c record;
  v_known boolean;
  v_readers int;
begin
  select * into c from meshhook_engine.find_channel(p_channel);
  if c.channel_id is null then
    raise exception 'no such channel' using errcode = 'PT404';
  end if;
  v_known := exists (select from meshhook_engine.watchers r
    join meshhook_engine.watched w on w.channel_id = r.channel_id
    where r.channel_id = c.channel_id and r.reader = v_reader
      and least(r.until, w.until) > v_now + v_life / 2);
  if c.broadcast <> 'off' and c.final_seq is null and not v_known then
    if v_user is not null and (select count(*) >= v_most
          or count(*) filter (where r.channel_id = c.channel_id) >= v_most_here
        from meshhook_engine.watchers r
       where r.user_id = v_user and r.until > v_now and (r.channel_id, r.reader) <> (c.channel_id, v_reader)) then
      raise exception 'you have % watches already, or % of this channel', v_most, v_most_here
        using errcode = 'PT429';
    end if;
    if pg_current_xact_id_if_assigned() is null then
      perform set_config('synchronous_commit', 'off', true); -- losing a watch costs a renewal
    end if;
    if c.kind = 'run' then
      select r.log_seq, r.final_log_seq, r.log_epoch into c.last_seq, c.final_seq, c.epoch
        from meshhook.runs r where r.id = c.channel_id for no key update;
    elsif c.kind = 'channel' then
      select x.last_seq, x.epoch into c.last_seq, c.epoch
        from meshhook.channels x where x.id = c.channel_id for no key update;
    end if;
    insert into meshhook_engine.watched as w
      (channel_id, project_id, kind, channel, generation, until, sent_seq)
    values (c.channel_id, c.project_id, c.kind, c.channel, c.generation, v_now + v_life,
      coalesce(c.last_seq, 0))
    on conflict (channel_id) do update set until = greatest(w.until, excluded.until),
      generation = case when w.until > v_now then w.generation else excluded.generation end,
      sent_seq = case when w.until > v_now then w.sent_seq else excluded.sent_seq end,
      due_at = case when w.until > v_now then w.due_at end;
    insert into meshhook_engine.watchers (channel_id, reader, user_id, until)
    values (c.channel_id, v_reader, v_user, v_now + v_life)
    on conflict (channel_id, reader) do update set until = excluded.until, user_id = excluded.user_id;
    update meshhook_engine.watched w set readers = (select count(*) from meshhook_engine.watchers r
        where r.channel_id = c.channel_id and r.until > v_now)
     where w.channel_id = c.channel_id returning w.readers into v_readers;
  end if;
  return query
    select meshhook_engine.topic(c.generation, c.channel), c.epoch, c.last_seq,
           c.final_seq is not null,
           case when c.broadcast <> 'off' then greatest(l.interval_ms, ceil(1000 * (1 + coalesce(
             v_readers, (select w.readers from meshhook_engine.watched w where w.channel_id = c.channel_id), 1))
             / (l.quota * l.share)))::int end
      from meshhook_engine.live l;
end $$;
comment on function meshhook_engine.watch(text, uuid) is 'watch for whoever may execute it.';

create function meshhook_engine.watch_as_member(p_channel text, p_reader uuid)
returns table (topic text, epoch int, last_seq bigint, ended boolean, interval_ms int)
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from meshhook_engine.find_channel(p_channel) c
    where c.project_id = any (meshhook_engine.my_projects('viewer'))) then
    raise exception 'not a channel of a project of yours' using errcode = 'PT403';
  end if;
  return query select * from meshhook_engine.watch(p_channel, p_reader);
end $$;
comment on function meshhook_engine.watch_as_member(text, uuid) is 'watch for a project''s members.';

create function meshhook.watch(channel text, reader uuid default null)
returns table (topic text, epoch int, last_seq bigint, ended boolean, interval_ms int)
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('meshhook_engine.watch(text, uuid)', 'execute') then
    return query select * from meshhook_engine.watch($1, $2);
  else
    return query select * from meshhook_engine.watch_as_member($1, $2);
  end if;
end $$;
comment on function meshhook.watch(text, uuid) is
  'Watch a channel, logs:run:{project}:{run}, logs:{service}:{project}[:{resource}], runs:{project} or health:{project}: what is written from now on is broadcast to the private topic, for 40 s; call it again every 15 s, and compare last_seq. reader: an id of this reader''s own (a tab''s, not a person''s). interval_ms: how long a busy channel may be silent; null: nothing is broadcast, ask instead. PT403: not a member; PT404: no such channel; PT429: too many watches.';

-- Whether this user may listen to a topic. Total: what isn't ours is false, whatever it is.
create function meshhook_engine.may_listen(p_topic text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
declare
  v_part text[] := regexp_match(p_topic, '^mh:(\d{1,9}):(?:runs|health|logs:[A-Za-z0-9_.-]{1,64}):'
    '([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?::[A-Za-z0-9_.-]{1,128})?$');
begin
  if v_part is null then
    return false;
  end if;
  return exists (select from meshhook.projects p where p.id = v_part[2]::uuid
    and p.generation = v_part[1]::int and p.id = any (meshhook_engine.my_projects('viewer')));
exception when others then
  return false; -- a token whose subject is no user of ours
end $$;
comment on function meshhook_engine.may_listen is
  'Whether the token''s user may listen to this topic of Realtime: ours, of this generation, of a project of theirs. Never an error.';

create policy meshhook_members_listen on realtime.messages for select to authenticated
  using (extension = 'broadcast' and (select meshhook_engine.may_listen((select realtime.topic()))));

-- Broadcasting -------------------------------------------------------------------------------

-- (Generic plans: planning the statement below takes longer than carrying it out.)
-- Send what these channels have; the caller holds their rows of watched. Never an error: it is
-- counted, and tried again in a second. Returns the events that it cost.
create function meshhook_engine.broadcast_send(p_channel uuid[]) returns int
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  v_lines constant int := 1000;    -- beyond which readers are told to fetch
  v_bytes constant int := 200000;
  v_now timestamptz := clock_timestamp();
  v_id uuid[]; v_to bigint[]; v_generation int[]; v_cost int;
begin
  with told as materialized (
    select w.channel_id, w.project_id, w.kind, w.channel, w.readers, w.sent_seq, p.generation,
           nullif(w.generation, p.generation) as moved_from,
           coalesce(r.log_epoch, c.epoch, 0) as epoch, coalesce(r.log_seq, c.last_seq, 0) as last_seq,
           r.final_log_seq is not null as ended
      from unnest(p_channel) x(id)
      join meshhook_engine.watched w on w.channel_id = x.id
      join meshhook.projects p on p.id = w.project_id
      left join meshhook.runs r on w.kind = 'run' and r.id = w.channel_id
      left join meshhook.channels c on w.kind = 'channel' and c.id = w.channel_id),
  news as (
    delete from meshhook_engine.run_news n using told t
     where t.kind = 'runs' and n.channel_id = t.channel_id returning n.channel_id, n.run_id),
  content as (
    select t.*, 'log' as event, (
        select jsonb_build_object('channel', t.channel, 'epoch', t.epoch, 'from', t.sent_seq + 1,
                 'to', t.last_seq, 'lines', jsonb_agg(jsonb_build_object('seq', l.seq, 'ts', l.ts,
                 'level', l.level, 'message', l.message, 'attrs', l.attrs, 'source', l.source)
                 order by l.seq) filter (where l.size < v_bytes))
          from (select l.*, sum(100 + octet_length(l.message) + coalesce(octet_length(l.attrs::text), 0))
                         over (order by l.seq) as size
                  from meshhook.logs l where l.channel_id = t.channel_id
                   and l.seq > t.sent_seq and l.seq <= t.last_seq) l
         where t.last_seq - t.sent_seq <= v_lines
        having count(*) filter (where l.size < v_bytes) = t.last_seq - t.sent_seq) as payload
      from told t where t.kind <> 'runs' and t.last_seq > t.sent_seq
    union all
    select t.*, 'run', (
        select jsonb_build_object('channel', t.channel, 'runs', jsonb_agg(jsonb_build_object('id', r.id,
                 'status', r.status, 'workflow', f.name, 'version', v.version,
                 'created_at', r.created_at, 'ended_at', r.ended_at, 'error', r.error) order by r.id))
          from (select distinct n.run_id from news n where n.channel_id = t.channel_id limit v_lines) n
          join meshhook.runs r on r.id = n.run_id
          join meshhook.versions v on v.id = r.version_id
          join meshhook.workflows f on f.id = r.workflow_id
        having (select count(distinct n.run_id) from news n where n.channel_id = t.channel_id) between 1 and v_lines)
      from told t where t.kind = 'runs'
       and exists (select from news n where n.channel_id = t.channel_id and n.run_id is not null)
    union all
    select t.*, 'health', jsonb_build_object('channel', t.channel) || h.health
      from told t, lateral (select meshhook_engine.health(t.project_id) as health) h
     where t.kind = 'health' and h.health is not null),
  message as materialized (
    select c.project_id, c.generation, c.channel, c.readers, x.whole,
           case when x.whole then c.event else 'hint' end as event,
           case when x.whole then c.payload else jsonb_build_object('channel', c.channel,
             'epoch', c.epoch, 'last_seq', c.last_seq) end
             || case when c.ended then '{"ended": true}'::jsonb else '{}' end as payload
      from content c, lateral (select coalesce(octet_length(c.payload::text) < v_bytes, false)) x(whole)),
  sent as (
    insert into realtime.messages (topic, extension, event, payload, private)
    select meshhook_engine.topic(m.generation, m.channel), 'broadcast', m.event, m.payload, true
      from message m
    union all
    select meshhook_engine.topic(t.moved_from, t.channel), 'broadcast', 'moved', '{}', true
      from told t where t.moved_from is not null),
  counted as (
    insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select m.project_id, case when m.whole then 'broadcast.sent' else 'broadcast.hints' end, count(*)
      from message m group by 1, 2)
  select array_agg(t.channel_id), array_agg(t.last_seq), array_agg(t.generation),
         coalesce((select sum(1 + greatest(x.readers, 1)) from (select m.readers from message m
           union all select t.readers from told t where t.moved_from is not null) x), 0)
    into v_id, v_to, v_generation, v_cost from told t;
  update meshhook_engine.watched w set sent_at = v_now, sent_seq = s.last_seq, due_at = null,
         generation = s.generation
    from unnest(v_id, v_to, v_generation) s(id, last_seq, generation) where w.channel_id = s.id;
  return v_cost;
exception when others then
  raise warning 'meshhook: broadcast: %', sqlerrm;
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select w.project_id, 'broadcast.failed', count(*) from meshhook_engine.watched w
     where w.channel_id = any (p_channel) group by 1;
  update meshhook_engine.watched w set due_at = v_now + interval '1 second'
   where w.channel_id = any (p_channel);
  return 0;
end $$;
comment on function meshhook_engine.broadcast_send is
  'Broadcasts what these channels have beyond sent_seq, in one insert into realtime.messages: event log with the lines, run with the runs, health with the newest metrics, or hint with the last number where that would be over 200 KB; ended: true with a run''s last; and to the old topic of one that moved, moved. A failure is counted (broadcast.failed) and tried again in a second. Returns the events that it cost.';

-- The last thing that a transaction does that wrote lines, under their channels' locks: send them,
-- from the upper half of the bucket, which those who wait can do without, or leave them due. The
-- bucket holds half a second of the budget, so that with what flows in no second sees the whole
-- quota. p_base: each channel's last number before. Waits for a flush under way at most, and only
-- for those rows; a transaction with a snapshot of its own does not even look.
create function meshhook_engine.broadcast_touch(p_channel uuid[], p_base bigint[]) returns boolean
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  v_now timestamptz := clock_timestamp();
  v_ids uuid[]; v_rested uuid[]; v_send uuid[]; v_spare real;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    insert into meshhook_engine.run_news (channel_id) select distinct unnest(p_channel);
    return true;
  elsif not exists (select from meshhook_engine.watched w where w.until > v_now) then
    return false;
  end if;
  if exists (select from meshhook_engine.watched w where w.until = 'infinity') then
    insert into meshhook_engine.watched
      (channel_id, project_id, kind, channel, generation, until, sent_seq)
    select x.id, p.id, case when c.id is null then 'run' else 'channel' end,
           'logs:' || coalesce(c.service, 'run') || ':' || p.id
             || coalesce(':' || coalesce(nullif(c.resource, ''), r.id::text), ''),
           p.generation, v_now + interval '40 seconds', x.base
      from unnest(p_channel, p_base) x(id, base)
      left join meshhook.runs r on r.id = x.id
      left join meshhook.channels c on c.id = x.id
      join meshhook.projects p on p.id = coalesce(r.project_id, c.project_id) and p.broadcast = 'all'
     order by x.id
    on conflict (channel_id) do update set until = excluded.until,
      generation = case when watched.until > v_now then watched.generation else excluded.generation end,
      sent_seq = case when watched.until > v_now then watched.sent_seq else excluded.sent_seq end,
      due_at = case when watched.until > v_now then watched.due_at end
      where watched.until < v_now + interval '20 seconds';
  end if;
  with held as (
    select w.channel_id, w.sent_at, w.due_at from meshhook_engine.watched w
     where w.channel_id = any (p_channel) and w.until > v_now
     order by w.channel_id for no key update)
  select array_agg(h.channel_id), array_agg(h.channel_id) filter (where
           h.sent_at + l.interval_ms * interval '1 millisecond' <= v_now)
    into v_ids, v_rested from held h, meshhook_engine.live l where h.due_at is null;
  if v_ids is null then
    return false;
  end if;
  if v_rested is not null then -- not locked: what others spend at this moment is not seen
    select least(l.quota * l.share / 2, l.tokens + l.quota * l.share
             * extract(epoch from clock_timestamp() - l.refilled_at)) - l.quota * l.share / 4
           - coalesce((select sum(s.events) from meshhook_engine.spent s), 0)
      into v_spare from meshhook_engine.live l;
  end if;
  if v_spare >= 0 then
    select array_agg(x.id) into v_send
      from (select w.channel_id as id, sum(1 + greatest(w.readers, 1)) over (order by w.channel_id)
                   - (1 + greatest(w.readers, 1)) as before
              from meshhook_engine.watched w where w.channel_id = any (v_rested)) x
     where x.before <= v_spare;
    insert into meshhook_engine.spent (events)
      select n from meshhook_engine.broadcast_send(v_send) n where n > 0;
  end if;
  update meshhook_engine.watched w
     set due_at = greatest(v_now, w.sent_at + l.interval_ms * interval '1 millisecond')
    from meshhook_engine.live l
   where w.channel_id = any (v_ids) and w.channel_id <> all (coalesce(v_send, '{}'));
  return found;
end $$;
comment on function meshhook_engine.broadcast_touch is
  'For whoever wrote lines, last in its transaction, under the channels'' locks (parallel arrays: channel, its last number before): where they are watched they are broadcast now, or left to flush_broadcasts(); true when something was left. Cheap while nobody watches anything.';

-- Runs that started or ended. Only added, so that a long transaction holds up nobody.
create function meshhook_engine.broadcast_runs(p_project uuid[], p_run uuid[]) returns void
language sql set search_path = '' as $$
  insert into meshhook_engine.run_news (channel_id, run_id)
    select x.project, x.run from unnest(p_project, p_run) x(project, run)
      join meshhook_engine.watched w on w.channel_id = x.project
     where w.kind = 'runs' and w.until > clock_timestamp();
$$;
comment on function meshhook_engine.broadcast_runs is
  'Notes that these runs started or ended (parallel arrays), where their project''s runs are watched, for flush_broadcasts() to send.';

-- Whoever calls it says when it wants to be called again. One at a time; another finds it taken
-- and comes back. Channels are served in the order in which they became due, as long as there are
-- tokens: so a busy one gets its turn when all others had theirs, and that is its interval.
create function meshhook_engine.flush_broadcasts(p_limit int default 100, p_last boolean default false)
returns table (sent int, wait_ms int)
language plpgsql security definer set search_path = '' set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
declare
  v_now timestamptz := clock_timestamp();
  v_rate real; v_step interval; v_tokens real; v_spent bigint; v_swept timestamptz;
  v_ids uuid[]; v_cost int := 0; v_due timestamptz;
begin
  if not exists (select from meshhook_engine.watched) then
    delete from meshhook_engine.run_news;
    return query select 0, null::int;
    return;
  end if;
  select l.quota * l.share, l.interval_ms * interval '1 millisecond', l.swept_at,
         least(l.quota * l.share / 2, l.tokens + l.quota * l.share * extract(epoch from v_now - l.refilled_at))
    into v_rate, v_step, v_swept, v_tokens
    from meshhook_engine.live l for no key update skip locked;
  if not found then
    return query select 0, 50;
    return;
  end if;
  if v_swept < v_now - interval '5 seconds' then
    perform meshhook_engine.sweep_watches();
  end if;
  with s as (delete from meshhook_engine.spent returning events)
  select coalesce(sum(s.events), 0) into v_spent from s;
  v_tokens := v_tokens - v_spent;
  perform meshhook_engine.broadcast_news(v_now, v_step);
  select array_agg(x.channel_id) into v_ids
    from (select w.channel_id, sum(1 + greatest(w.readers, 1)) over (order by w.due_at, w.channel_id)
                 - (1 + greatest(w.readers, 1)) as before
            from (select d.* from meshhook_engine.watched d
                   where d.due_at <= v_now + case when p_last then v_step else '0' end and d.until > v_now
                   order by d.due_at, d.channel_id limit least(p_limit, greatest(ceil(v_tokens / 2), 0))
                     for no key update skip locked) w) x -- no more than there are tokens for
   where v_tokens - x.before > 0;
  if v_ids is not null then
    v_cost := meshhook_engine.broadcast_send(v_ids);
  else
    perform set_config('synchronous_commit', 'off', true); -- nobody waits for it to reach Realtime
  end if;
  if v_cost > 0 or v_spent > 0 then
    update meshhook_engine.live set tokens = v_tokens - v_cost, refilled_at = v_now;
  end if;
  select min(w.due_at) into v_due from meshhook_engine.watched w where w.due_at is not null and w.until > v_now;
  return query select coalesce(cardinality(v_ids), 0), case
    when v_due is not null then least(1000, greatest(case when v_ids is null then 50 else 5 end, ceil(1000 * greatest(
      extract(epoch from v_due - clock_timestamp()), case when v_tokens - v_cost <= 0
        then 0.1 + (v_cost - v_tokens) / v_rate end))))::int -- a tenth of a second's worth at once
    when exists (select from meshhook_engine.watched w where w.until > v_now) then 1000 end;
end $$;
comment on function meshhook_engine.flush_broadcasts is
  'Broadcasts what is due and the budget allows, of p_limit channels at most; with p_last, for a process that ends, also what will be due within the interval. Returns how many channels were served and in how many ms to call again: at once where something is due, in 1 s while anybody watches, null when nobody does.';

-- Parts of flush_broadcasts(): news becomes due ...
create function meshhook_engine.broadcast_news(p_now timestamptz, p_step interval) returns void
language plpgsql set search_path = '' as $$
begin
  if not exists (select from meshhook_engine.run_news) then
    return;
  end if;
  with fresh as (
    select w.channel_id from meshhook_engine.watched w
     where w.due_at is null and w.until > p_now
       and w.channel_id in (select n.channel_id from meshhook_engine.run_news n)
     for no key update skip locked)
  update meshhook_engine.watched w set due_at = greatest(p_now, w.sent_at + p_step)
    from fresh where w.channel_id = fresh.channel_id;
  delete from meshhook_engine.run_news n where not exists (select from meshhook_engine.watched w
    where w.channel_id = n.channel_id and w.until > p_now
      and (w.kind = 'runs' or w.due_at is null));
end $$;
comment on function meshhook_engine.broadcast_news is
  'Part of flush_broadcasts(): what is in run_news makes its channel due, or is forgotten where nobody watches.';

-- ... and watches that ran out are forgotten, at most every 5 s.
create function meshhook_engine.sweep_watches() returns void
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  delete from meshhook_engine.watchers r using (
      select x.channel_id, x.reader from meshhook_engine.watchers x
       where x.until <= v_now limit 5000 for update skip locked) x
   where r.channel_id = x.channel_id and r.reader = x.reader;
  delete from meshhook_engine.watched w using (
      select x.channel_id from meshhook_engine.watched x
       where x.until <= v_now limit 5000 for update skip locked) x
   where w.channel_id = x.channel_id;
  with now_read as (
    select w.channel_id, coalesce(n.readers, 0) as readers
      from meshhook_engine.watched w left join (select r.channel_id, count(*)::int as readers
        from meshhook_engine.watchers r where r.until > v_now group by 1) n using (channel_id)
     where w.readers <> coalesce(n.readers, 0) for no key update of w skip locked)
  update meshhook_engine.watched w set readers = n.readers
    from now_read n where w.channel_id = n.channel_id;
  update meshhook_engine.live set swept_at = v_now;
end $$;
comment on function meshhook_engine.sweep_watches is
  'Part of flush_broadcasts(), at most every 5 s: forgets watches that ran out and counts the readers anew.';

-- Mode by project ----------------------------------------------------------------------------

-- all: the row of runs:{project} that never runs out says that everything is to be broadcast.
create function meshhook_engine.broadcast_mode() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.broadcast = 'all' then
    insert into meshhook_engine.watched (channel_id, project_id, kind, channel, generation, until)
    values (new.id, new.id, 'runs', 'runs:' || new.id, new.generation, 'infinity')
    on conflict (channel_id) do update set until = excluded.until;
  elsif new.broadcast = 'off' then
    delete from meshhook_engine.watched where channel_id in (select w.channel_id
      from meshhook_engine.watched w where w.project_id = new.id order by w.channel_id for update);
  else
    update meshhook_engine.watched set until = clock_timestamp() where channel_id = new.id and until = 'infinity';
  end if;
  return null;
end $$;
comment on function meshhook_engine.broadcast_mode() is
  'Trigger: projects.broadcast takes effect.';
create trigger broadcast_mode after update of broadcast on meshhook.projects
  for each row when (old.broadcast <> new.broadcast) execute function meshhook_engine.broadcast_mode();
create trigger broadcast_mode_new after insert on meshhook.projects
  for each row when (new.broadcast <> 'watched') execute function meshhook_engine.broadcast_mode();

-- Who listens to a topic that is no more would learn it at the next renewal. So each old topic is
-- told, by the next flush and within the budget, that it moved, and nothing else: who was removed
-- hears that, too, and asks in vain. Only added, as runs are, so that a removal waits for nobody.
create function meshhook_engine.broadcast_moved() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into meshhook_engine.run_news (channel_id)
    select w.channel_id from meshhook_engine.watched w
     where w.project_id = new.id and w.until > clock_timestamp();
  return null;
end $$;
comment on function meshhook_engine.broadcast_moved() is
  'Trigger: the project''s generation moved, and so do the topics of what is watched.';
create trigger broadcast_moved after update of generation on meshhook.projects
  for each row when (old.generation <> new.generation) execute function meshhook_engine.broadcast_moved();

-- After a restore ----------------------------------------------------------------------------

-- Numbers may now be given a second time. A run that has ended has them all, on both sides of the
-- loss; every other channel begins a new epoch, so that a cursor of the old one is seen as such.
create function meshhook_engine.recover() returns table (runs bigint, channels bigint)
language plpgsql security definer set search_path = '' as $$
begin
  perform from meshhook.runs r where r.final_log_seq is null order by r.id for no key update;
  update meshhook.runs r
     set log_epoch = ((r.log_epoch::bigint + 1 + floor(random() * 2147483645)::bigint) % 2147483647)::int
   where r.final_log_seq is null;
  get diagnostics runs = row_count;
  perform from meshhook.channels c order by c.id for no key update;
  update meshhook.channels c
     set epoch = ((c.epoch::bigint + 1 + floor(random() * 2147483645)::bigint) % 2147483647)::int;
  get diagnostics channels = row_count;
  perform from meshhook_engine.watched w order by w.channel_id for update;
  delete from meshhook_engine.watched w where w.until <> 'infinity';
  delete from meshhook_engine.watchers;
  delete from meshhook_engine.run_news;
  insert into meshhook.audit_log (actor, action, subject, detail)
  values (meshhook_engine.actor(), 'recover', 'logs', jsonb_build_object('runs', runs, 'channels', channels));
  return next;
end $$;
comment on function meshhook_engine.recover() is
  'After a restore, or a failover that lost commits: every channel that may go on gets a new epoch, so that readers are told of a gap and never take another line for one they know. How many were renewed.';

-- postgres_changes ---------------------------------------------------------------------------

-- Realtime reads the write-ahead log by table, and a partitioned table has none of its own there:
-- so a plain one carries the last minute's lines, while it is enabled.
create table meshhook.recent_logs (
  channel_id uuid not null,
  seq bigint not null,
  project_id uuid not null,
  ts timestamptz not null,
  level smallint not null,
  message text not null,
  attrs jsonb,
  source text,
  primary key (channel_id, seq)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index recent_logs_ts on meshhook.recent_logs (ts);
comment on table meshhook.recent_logs is
  'The last minute''s lines, for postgres_changes; empty unless meshhook.enable_postgres_changes() was called.';

create function meshhook_engine.copy_lines() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into meshhook.recent_logs (channel_id, seq, project_id, ts, level, message, attrs, source)
    select l.channel_id, l.seq, l.project_id, l.ts, l.level, l.message, l.attrs, l.source
      from fresh l on conflict do nothing;
  delete from meshhook.recent_logs where (channel_id, seq) in (select o.channel_id, o.seq
    from meshhook.recent_logs o where o.ts < clock_timestamp() - interval '1 minute'
    order by o.ts limit 1000 for update skip locked);
  return null;
end $$;
comment on function meshhook_engine.copy_lines() is
  'Trigger, only while postgres_changes are enabled: lines are copied to recent_logs, older ones removed.';

create function meshhook.enable_postgres_changes() returns void
language plpgsql set search_path = '' as $$
declare
  t regclass;
begin
  foreach t in array array['meshhook.recent_logs', 'meshhook.runs']::regclass[] loop
    if not exists (select from pg_publication_rel where prrelid = t
      and prpubid = (select oid from pg_publication where pubname = 'supabase_realtime')) then
      execute format('alter publication supabase_realtime add table %s', t);
    end if;
  end loop;
  create or replace trigger copy_lines after insert on meshhook.logs
    referencing new table as fresh for each statement execute function meshhook_engine.copy_lines();
end $$;
comment on function meshhook.enable_postgres_changes() is
  'Publish meshhook.runs and meshhook.recent_logs (the last minute''s lines) to Realtime''s postgres_changes, under their row-level security. For the operator; it costs every line a copy, and carries some 30 rows a second on a hosted project: watch() is the way.';

create function meshhook.disable_postgres_changes() returns void
language plpgsql set search_path = '' as $$
declare
  t regclass;
begin
  drop trigger if exists copy_lines on meshhook.logs;
  foreach t in array array['meshhook.recent_logs', 'meshhook.runs']::regclass[] loop
    if exists (select from pg_publication_rel where prrelid = t
      and prpubid = (select oid from pg_publication where pubname = 'supabase_realtime')) then
      execute format('alter publication supabase_realtime drop table %s', t);
    end if;
  end loop;
  truncate meshhook.recent_logs;
end $$;
comment on function meshhook.disable_postgres_changes() is
  'Undo enable_postgres_changes().';
