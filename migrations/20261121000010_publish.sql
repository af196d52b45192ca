-- Lines of other programs: service tokens, append_logs, and the reading of what is past.

-- Service tokens ----------------------------------------------------------------------------

create table meshhook.service_tokens (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null references meshhook.projects on delete cascade,
  service text not null check (service ~ '^[A-Za-z0-9_.-]{1,64}$' and service <> 'run'),
  name text not null check (length(name) between 1 and 200),
  created_by text not null default meshhook_engine.actor(),
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz
);
comment on table meshhook.service_tokens is
  'Who may publish lines to logs:{service}:{project}:*. The token itself is nowhere: only its hash.';
comment on column meshhook.service_tokens.last_used_at is 'To the minute or so.';
create index service_tokens_project on meshhook.service_tokens (project_id, id);

create table meshhook_engine.service_token_hashes (
  hash bytea primary key,
  token_id uuid not null unique references meshhook.service_tokens on delete cascade
);
comment on table meshhook_engine.service_token_hashes is 'SHA-256 of each service token.';

create trigger audit after insert or delete or update of service, name, expires_at, revoked_at
  on meshhook.service_tokens for each row execute function meshhook_engine.audit('last_used_at');
alter table meshhook.service_tokens enable always trigger audit;

create function meshhook_engine.create_service_token(p_project uuid, p_service text, p_name text,
  p_expires_at timestamptz)
returns table (id uuid, token text)
language plpgsql security definer set search_path = '' as $$
declare
  v_id uuid := meshhook_engine.uuid7();
  -- 244 random bits
  v_token text := 'mhs_' || translate(encode(
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64'), '+/=', '-_');
begin
  if p_expires_at <= now() then
    raise exception 'expires_at is over already' using errcode = 'invalid_parameter_value';
  end if;
  insert into meshhook.service_tokens (id, project_id, service, name, expires_at)
  values (v_id, p_project, p_service, coalesce(p_name, p_service), p_expires_at);
  insert into meshhook_engine.service_token_hashes (hash, token_id)
  values (sha256(convert_to(v_token, 'UTF8')), v_id);
  return query select v_id, v_token;
end
$$;
comment on function meshhook_engine.create_service_token(uuid, text, text, timestamptz) is
  'create_service_token for whoever may execute it.';

create function meshhook_engine.create_service_token_as_member(p_project uuid, p_service text,
  p_name text, p_expires_at timestamptz)
returns table (id uuid, token text)
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(p_project, 'admin');
  return query select * from meshhook_engine.create_service_token(p_project, p_service, p_name,
    p_expires_at);
end
$$;
comment on function meshhook_engine.create_service_token_as_member(uuid, text, text, timestamptz) is
  'create_service_token for a project''s admins.';

create function meshhook.create_service_token(project text, service text, name text default null,
  expires_at timestamptz default null)
returns table (id uuid, token text)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  p uuid := meshhook_engine.project_id($1);
begin
  if has_function_privilege(
    'meshhook_engine.create_service_token(uuid, text, text, timestamptz)', 'execute') then
    return query select t.id, t.token from meshhook_engine.create_service_token(p, $2, $3, $4) t;
  else
    return query
      select t.id, t.token from meshhook_engine.create_service_token_as_member(p, $2, $3, $4) t;
  end if;
end
$$;
comment on function meshhook.create_service_token(text, text, text, timestamptz) is
  'Make a token with which a service publishes log lines to this project. It is told this once; only its hash is kept. Admins may.';

create function meshhook_engine.revoke_service_token(p_id uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update meshhook.service_tokens set revoked_at = now() where id = p_id and revoked_at is null;
  return found;
end
$$;
comment on function meshhook_engine.revoke_service_token(uuid) is
  'revoke_service_token for whoever may execute it.';

create function meshhook_engine.revoke_service_token_as_member(p_id uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform meshhook_engine.require_member(
    (select project_id from meshhook.service_tokens where id = p_id), 'admin');
  return meshhook_engine.revoke_service_token(p_id);
end
$$;
comment on function meshhook_engine.revoke_service_token_as_member(uuid) is
  'revoke_service_token for a project''s admins.';

create function meshhook.revoke_service_token(id uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('meshhook_engine.revoke_service_token(uuid)', 'execute') then
    return meshhook_engine.revoke_service_token($1);
  end if;
  return meshhook_engine.revoke_service_token_as_member($1);
end
$$;
comment on function meshhook.revoke_service_token(uuid) is
  'Make a service token void, at once; false if it was, or never existed. Admins may.';

create function meshhook_engine.service_token(p_hash text)
returns table (id uuid, project_id uuid, project text, service text, expires_at timestamptz)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_token meshhook.service_tokens;
begin
  select t.* into v_token
    from meshhook_engine.service_token_hashes h join meshhook.service_tokens t on t.id = h.token_id
   where h.hash = decode(p_hash, 'hex') and t.revoked_at is null
     and (t.expires_at is null or t.expires_at > now());
  if not found then
    return;
  end if;
  if v_token.last_used_at is null or v_token.last_used_at < now() - interval '1 minute' then
    perform set_config('synchronous_commit', 'off', true); -- losing it costs nothing
    update meshhook.service_tokens t set last_used_at = now()
     where t.id = v_token.id and t.id in (
       select s.id from meshhook.service_tokens s where s.id = v_token.id for update skip locked);
  end if;
  return query select v_token.id, v_token.project_id, p.slug, v_token.service, v_token.expires_at
    from meshhook.projects p where p.id = v_token.project_id;
end
$$;
comment on function meshhook_engine.service_token(text) is
  'The service token with this SHA-256 (in hex), if it is valid now; no row otherwise.';

-- Lines -------------------------------------------------------------------------------------

create table meshhook_engine.log_ids (
  channel_id uuid not null,
  client_id text collate "C" not null,
  seq bigint not null,
  at timestamptz not null default now(),
  primary key (channel_id, client_id)
);
comment on table meshhook_engine.log_ids is
  'Ids that writers gave their lines, for a day: the same id in a channel is the same line. Read and written under the channel''s lock.';
create index log_ids_at on meshhook_engine.log_ids (at);

-- Append lines of several requests to several channels: one transaction, durable when it returns.
-- Parallel arrays; requests and channels are named by their index from 1, and no channel stands
-- twice. p_token is a request's. p_ch_service 'run': p_ch_resource is the run's id. Per line:
-- p_ord is its place among the lines of its channel here, from 1; p_id the writer's own id for it,
-- or null.
--
-- Answers a row of kind 'channel' each (ord: its index; seq: the last line's before), and a row
-- 'duplicate' for each line that was not written since its id was here before (ord: the line's
-- index, seq: that line's); 'due' when flush_broadcasts() has something to send. Or, when something is wrong with some of the requests, a row 'refused'
-- for each of them (ord, why), and then nothing at all was written: send the others again.
--
-- New channels are made in the order of their names, before any is locked; runs, then channels, are
-- locked in the order of their ids.
create function meshhook_engine.append_logs(p_token uuid[], p_ch_project uuid[], p_ch_service text[],
  p_ch_resource text[], p_request int[], p_channel int[], p_ord int[], p_level smallint[],
  p_message text[], p_attrs jsonb[], p_client_ts timestamptz[], p_id text[])
returns table (kind text, ord int, channel_id uuid, seq bigint, why text)
language plpgsql security definer set search_path = ''
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  v_runs boolean := 'run' = any (p_ch_service);
  v_ids int := cardinality(array_remove(p_id, null));
  v_channel uuid[]; v_base bigint[]; v_why text[]; v_source text[];
  v_skip boolean[]; -- by line: its id was here before; null: none
  v_was bigint[];   -- and then: that line's seq, or below 0 the index of a line of this call
begin
  -- 1. who: what a token may write to, its gateway knows; that it is valid still, only we do
  select array_agg(case when t.id is null then 'token' end order by r.ord),
         array_agg(t.service order by r.ord)
    into v_why, v_source
    from unnest(p_token) with ordinality r(id, ord)
    left join meshhook.service_tokens t on t.id = r.id and t.revoked_at is null
     and (t.expires_at is null or t.expires_at > now());
  if cardinality(array_remove(v_why, null)) > 0 then
    return query select 'refused', i, null::uuid, null::bigint, v_why[i]
      from generate_subscripts(v_why, 1) i where v_why[i] is not null;
    return;
  end if;

  -- 2. where: runs, then channels
  if v_runs then
    perform from meshhook.runs r where r.id in (
        select c.resource::uuid from unnest(p_ch_service, p_ch_resource) c(service, resource)
         where c.service = 'run')
      order by r.id for no key update;
  end if;
  if exists (select from unnest(p_ch_project, p_ch_service, p_ch_resource) c(project, service, resource)
      left join meshhook.channels x
        on (x.project_id, x.service, x.resource) = (c.project, c.service, c.resource)
     where x.id is null and c.service <> 'run') then
    insert into meshhook.channels (project_id, service, resource)
      select c.project, c.service, c.resource
        from unnest(p_ch_project, p_ch_service, p_ch_resource) c(project, service, resource)
       where c.service <> 'run' order by 1, 2, 3
    on conflict do nothing;
  end if;
  select array_agg(x.id order by x.ord), array_agg(x.last_seq order by x.ord)
    into v_channel, v_base
    from (select c.ord, x.id, x.last_seq
            from unnest(p_ch_project, p_ch_service, p_ch_resource)
                 with ordinality c(project, service, resource, ord)
            join meshhook.channels x
              on (x.project_id, x.service, x.resource) = (c.project, c.service, c.resource)
           order by x.id for no key update of x) x;
  if v_runs then -- some are runs: put both kinds in their places
    select array_agg(coalesce(r.id, x.id) order by c.ord),
           array_agg(coalesce(r.log_seq, x.last_seq) order by c.ord),
           array_agg(case when r.final_log_seq is not null then 'ended'
                          when c.service = 'run' and r.id is null then 'run' end order by c.ord)
      into v_channel, v_base, v_why
      from unnest(p_ch_project, p_ch_service, p_ch_resource)
           with ordinality c(project, service, resource, ord)
      left join meshhook.runs r on r.project_id = c.project
       and r.id = case when c.service = 'run' then c.resource::uuid end
      left join meshhook.channels x
        on (x.project_id, x.service, x.resource) = (c.project, c.service, c.resource);
    if cardinality(array_remove(v_why, null)) > 0 then
      return query select 'refused', l.request, null::uuid, null::bigint, min(v_why[l.channel])
        from unnest(p_request, p_channel) l(request, channel)
       where v_why[l.channel] is not null group by l.request;
      return;
    end if;
  end if;

  -- 3. which lines are here already; those that aren't close ranks
  if v_ids > 0 then
    select array_agg(x.again order by x.line), array_agg(x.was order by x.line)
      into v_skip, v_was
      from (select l.line, k.seq is not null
                     or l.id is not null and row_number() over w > 1 as again,
                   coalesce(k.seq, -first_value(l.line) over w) as was
              from unnest(p_channel, p_id) with ordinality l(channel, id, line)
              left join meshhook_engine.log_ids k
                on k.channel_id = v_channel[l.channel] and k.client_id = l.id
            window w as (partition by l.channel, l.id order by l.line)) x;
    if true = any (v_skip) then
      select array_agg(n.ord order by n.line) into p_ord
        from (select l.line, row_number() over (partition by l.channel, v_skip[l.line]
                       order by l.line)::int as ord
                from unnest(p_channel) with ordinality l(channel, line)) n;
    else
      v_skip := null;
    end if;
  end if;

  -- 4. write
  insert into meshhook.logs (channel_id, seq, project_id, level, message, attrs, source, client_ts)
    select v_channel[l.channel], v_base[l.channel] + l.ord, p_ch_project[l.channel], l.level,
           l.message, l.attrs, case when p_ch_service[l.channel] = 'run' then v_source[l.request] end, l.client_ts
      from unnest(p_request, p_channel, p_ord, p_level, p_message, p_attrs, p_client_ts)
           with ordinality l(request, channel, ord, level, message, attrs, client_ts, line)
     where v_skip is null or not v_skip[l.line];
  if v_ids > 0 then
    insert into meshhook_engine.log_ids (channel_id, client_id, seq)
      select v_channel[l.channel], l.id, v_base[l.channel] + l.ord
        from unnest(p_channel, p_ord, p_id) with ordinality l(channel, ord, id, line)
       where l.id is not null and (v_skip is null or not v_skip[l.line]);
    delete from meshhook_engine.log_ids k where k.ctid = any (array(
      select o.ctid from meshhook_engine.log_ids o where o.at < now() - interval '1 day'
       order by o.at limit 2 * v_ids for update skip locked));
  end if;
  insert into meshhook_engine.counter_deltas (project_id, metric, delta)
    select p_ch_project[l.channel], 'log.lines', count(*)
      from unnest(p_channel) with ordinality l(channel, line)
     where v_skip is null or not v_skip[l.line] group by 1;
  update meshhook.channels x set last_seq = x.last_seq + c.n
    from (select v_channel[l.channel] as id, count(*) as n
            from unnest(p_channel) with ordinality l(channel, line)
           where v_skip is null or not v_skip[l.line] group by 1) c
   where x.id = c.id;
  if v_runs then
    update meshhook.runs r set log_seq = r.log_seq + c.n
      from (select v_channel[l.channel] as id, count(*) as n
              from unnest(p_channel) with ordinality l(channel, line)
             where v_skip is null or not v_skip[l.line] group by 1) c
     where r.id = c.id;
  end if;

  -- 5. who watches is told, last: this may wait for a flush
  if exists (select from meshhook_engine.watched w where w.until > now()) then
    if meshhook_engine.broadcast_touch(v_channel, v_base) then
      return query select 'due', 0, null::uuid, null::bigint, null::text;
    end if;
  end if;
  return query select 'channel', i, v_channel[i], v_base[i], null::text
      from generate_subscripts(v_channel, 1) i;
  if v_skip is not null then
    return query select 'duplicate', i, null::uuid, case when v_was[i] > 0 then v_was[i]
        else v_base[p_channel[i]] + p_ord[-v_was[i]] end, null::text
      from generate_subscripts(v_skip, 1) i where v_skip[i];
  end if;
end
$$;
comment on function meshhook_engine.append_logs is
  'Appends lines of several requests to several channels in one transaction (the comment above the function has the parameters). Rows: channel with its last seq before; duplicate for a line whose id was here; or refused (token, run, ended), and then nothing was written.';

-- Reading what is past ----------------------------------------------------------------------

-- A name's parts, with the project's id, among what the caller may see. resource null: the
-- channel of a service as a whole; '*': all of that service's, or all runs.
create function meshhook_engine.log_names(p_channels text[])
returns table (ord int, project_id uuid, service text, resource text)
language plpgsql stable set search_path = '' as $$
declare
  v_name text;
  v_part text[];
begin
  ord := 0;
  foreach v_name in array p_channels loop
    v_part := string_to_array(v_name, ':');
    if v_part[1] is distinct from 'logs' or cardinality(v_part) not in (3, 4)
      or v_part[2] = 'run' and cardinality(v_part) = 3 then
      raise exception '"%" is no channel', left(v_name, 100) using errcode = 'invalid_parameter_value',
        hint = 'logs:{service}:{project}:{resource}, logs:run:{project}:{run}, * for all of the last part';
    end if;
    ord := ord + 1;
    project_id := meshhook_engine.project_id(v_part[3]);
    service := v_part[2];
    resource := v_part[4];
    return next;
  end loop;
end
$$;
comment on function meshhook_engine.log_names(text[]) is
  'Names of channels in parts, projects by id or slug: PT404 for a project that the caller may not see, 22023 for what is no name.';

-- Two orders. Channels by name: one after the other as they are named, each by seq; that reads an
-- index and nothing else. With a wildcard: by (ts, channel, seq), over the hour before `until`
-- unless `since` says otherwise, as lines are kept by channel and not by time.
create function meshhook.log_lines(channels text[], min_level int default 1,
  since timestamptz default null, until timestamptz default null, q text default null,
  with_attrs jsonb default null, newest_first boolean default false, after_ts timestamptz default null,
  after_channel uuid default null, after_seq bigint default null, max_lines int default 100)
returns table (channel text, channel_id uuid, epoch int, seq bigint, ts timestamptz, level smallint,
  message text, attrs jsonb, source text, client_ts timestamptz)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_filter constant text := $f$($1 is null or l.ts >= $1) and ($2 is null or l.ts < $2)
    and l.level >= $3 and ($4 is null or position(lower($4 collate "C") in lower(l.message collate "C")) > 0)
    and ($5 is null or not exists (select from jsonb_each_text($5) f
      where l.attrs ->> f.key is distinct from f.value))$f$;
  v_way constant text := case when newest_first then 'desc' else 'asc' end;
  v_beyond constant text := case when newest_first then '<' else '>' end;
  v_ids uuid[]; v_names text[]; v_epochs int[]; v_runs_of uuid[];
  v_wild boolean;
  v_at int;
begin
  if (cardinality(channels) between 1 and 50 and max_lines between 1 and 10000) is not true then
    raise exception 'from 1 to 50 channels, and from 1 to 10000 lines'
      using errcode = 'invalid_parameter_value';
  end if;
  select array_agg(coalesce(r.id, c.id) order by n.ord, c.id),
         array_agg('logs:' || n.service || ':' || n.project_id
           || coalesce(':' || coalesce(nullif(c.resource, ''), n.resource), '') order by n.ord, c.id),
         array_agg(coalesce(r.log_epoch, c.epoch) order by n.ord, c.id),
         array_agg(n.project_id) filter (where n.service = 'run' and n.resource = '*'),
         bool_or(n.resource = '*') is true
    into v_ids, v_names, v_epochs, v_runs_of, v_wild
    from meshhook_engine.log_names(channels) n
    left join meshhook.runs r on n.service = 'run' and r.project_id = n.project_id and r.id =
      case when n.resource ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then n.resource::uuid end
    left join meshhook.channels c on n.service <> 'run' and c.project_id = n.project_id
      and c.service = n.service and (n.resource = '*' or c.resource = coalesce(n.resource, ''));
  if not v_wild then
    v_at := case when after_channel is null then 0 else array_position(v_ids, after_channel) end;
    if v_at is null then
      raise exception 'the page begins in another channel' using errcode = 'invalid_parameter_value';
    end if;
    return query execute format($s$
      select c.name, c.id, c.epoch, x.seq, x.ts, x.level, x.message, x.attrs, x.source, x.client_ts
        from unnest($6, $7, $8) with ordinality c(id, name, epoch, ord)
       cross join lateral (select l.* from meshhook.logs l
          where l.channel_id = c.id and (c.ord > $9 or l.seq %2$s $10) and %1$s
          order by l.seq %3$s limit $11) x
       where c.id is not null and c.ord >= $9
       order by c.ord, x.seq %3$s limit $11$s$, v_filter, v_beyond, v_way)
      using since, until, min_level, q, with_attrs, v_ids, v_names, v_epochs, v_at, after_seq, max_lines;
    return;
  end if;
  since := coalesce(since, coalesce(until, now()) - interval '1 hour');
  return query execute format($s$
    select coalesce('logs:run:' || r.project_id || ':' || r.id, 'logs:' || c.service || ':'
             || c.project_id || coalesce(':' || nullif(c.resource, ''), '')),
           l.channel_id, coalesce(r.log_epoch, c.epoch), l.seq, l.ts, l.level, l.message, l.attrs,
           l.source, l.client_ts
      from (select l.* from meshhook.logs l
         where (l.channel_id = any ($6) or l.project_id = any ($7)
             and not exists (select from meshhook.channels c where c.id = l.channel_id))
           and ($8 is null or l.ts %2$s= $8 and (l.ts, l.channel_id, l.seq) %2$s ($8, $9, $10))
           and %1$s
         order by l.ts %3$s, l.channel_id %3$s, l.seq %3$s limit $11) l
      left join meshhook.runs r on r.id = l.channel_id
      left join meshhook.channels c on c.id = l.channel_id
     order by l.ts %3$s, l.channel_id %3$s, l.seq %3$s $s$, v_filter, v_beyond, v_way)
    using since, until, min_level, q, with_attrs, v_ids, v_runs_of, after_ts, after_channel, after_seq,
      max_lines;
end
$$;
comment on function meshhook.log_lines is
  'Lines that the caller may see, of up to 50 channels, filtered, a page at a time: the next page begins after the last line''s (ts, channel_id, seq). Channels by name come one after the other; with a wildcard (logs:etl:acme:*) by time, over the last hour unless since is given.';
