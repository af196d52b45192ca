-- Secrets of steps, bodies of webhooks as they came, and rates shared by gateways
-- (docs/decisions/0010).

-- Secrets: what people see of them. Their values are apart, sealed under a key that only workers
-- and the operator hold.
create table meshhook.secrets (
  id uuid primary key default meshhook_engine.uuid7(),
  project_id uuid not null references meshhook.projects on delete cascade,
  name text not null check (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,62}$'),
  version int not null default 1,
  hosts text[] not null default '{}' check (cardinality(hosts) <= 32),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (project_id, name)
);
comment on table meshhook.secrets is 'Secrets that steps may use as {{ secrets.NAME }}: their names, never their values.';
comment on column meshhook.secrets.version is 'The value that steps get; the ones before it are still masked for a day.';
comment on column meshhook.secrets.hosts is 'The hosts that it may be sent to; none: any.';

create table meshhook_engine.secret_values (
  secret_id uuid not null references meshhook.secrets on delete cascade,
  version int not null,
  sealed text not null,
  expires_at timestamptz,
  primary key (secret_id, version)
);
comment on table meshhook_engine.secret_values is 'Values of secrets, sealed under the workers'' key, which the database never sees.';
comment on column meshhook_engine.secret_values.expires_at is 'Until when a value that was replaced is still masked; null: the current one.';

-- One row a run and secret, whatever the number of steps and attempts.
create unique index audit_secret_use on meshhook.audit_log ((detail ->> 'run'), subject)
  where action = 'secret.use';

do $$
begin
  create trigger audit after insert or update or delete on meshhook.secrets
    for each row execute function meshhook_engine.audit();
  alter table meshhook.secrets enable always trigger audit;
end
$$;

create function meshhook_engine.set_secret(p_project uuid, p_name text, p_version int,
  p_sealed text, p_hosts text[] default null) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  secret meshhook.secrets;
begin
  insert into meshhook.secrets as s (project_id, name, version, hosts)
  values (p_project, p_name, p_version, coalesce(p_hosts, '{}'))
  on conflict (project_id, name) do update set version = excluded.version,
    hosts = coalesce(p_hosts, s.hosts), updated_at = now()
    where s.version = excluded.version - 1
  returning * into secret;
  if secret.id is null then
    raise exception 'the secret was changed meanwhile' using errcode = 'serialization_failure';
  end if;
  update meshhook_engine.secret_values v set expires_at = now() + interval '1 day'
  where v.secret_id = secret.id and v.expires_at is null;
  delete from meshhook_engine.secret_values v
  where v.secret_id = secret.id and v.expires_at < now();
  insert into meshhook_engine.secret_values (secret_id, version, sealed)
  values (secret.id, p_version, p_sealed);
  return secret.id;
end
$$;
comment on function meshhook_engine.set_secret(uuid, text, int, text, text[]) is
  'Give a secret a value, sealed for its project, name and version; p_version is one more than it has. p_hosts null: as they were.';

create function meshhook_engine.reseal_secret(p_secret uuid, p_version int, p_was text, p_sealed text)
returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  secret meshhook.secrets;
begin
  update meshhook_engine.secret_values v set sealed = p_sealed
  where v.secret_id = p_secret and v.version = p_version and v.sealed = p_was;
  if not found then
    return false;
  end if;
  select * into secret from meshhook.secrets where id = p_secret;
  insert into meshhook.audit_log (project_id, actor, action, subject, detail)
  values (secret.project_id, meshhook_engine.actor(), 'secret.reseal', secret.name,
    jsonb_build_object('version', p_version, 'key', split_part(p_sealed, '.', 2)));
  return true;
end
$$;
comment on function meshhook_engine.reseal_secret(uuid, int, text, text) is
  'Put another envelope of the same value in the place of one; false when that is no longer there.';

-- What a worker needs to send and to mask: the current value and those replaced within a day.
-- A row with a run says that the run's step sends it now: recorded, once, before it is sent.
create function meshhook_engine.use_secrets(p_project uuid[], p_name text[], p_run uuid[])
returns table (project_id uuid, name text, version int, is_current boolean, hosts text, sealed text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  insert into meshhook.audit_log (project_id, actor, action, subject, detail)
  select s.project_id, meshhook_engine.actor(), 'secret.use', s.name,
    jsonb_build_object('run', x.run, 'version', s.version)
  from unnest(p_project, p_name, p_run) x(project, name, run)
  join meshhook.secrets s on s.project_id = x.project and s.name = x.name
  where x.run is not null order by x.run, s.name
  on conflict do nothing;
  return query
    select s.project_id, s.name, v.version, v.version = s.version,
      array_to_string(s.hosts, ' '), v.sealed
    from (select distinct project, name from unnest(p_project, p_name) y(project, name)) x
    join meshhook.secrets s on s.project_id = x.project and s.name = x.name
    join meshhook_engine.secret_values v on v.secret_id = s.id
    where v.expires_at is null or v.expires_at > now();
end
$$;
comment on function meshhook_engine.use_secrets(uuid[], text[], uuid[]) is
  'Secrets of projects by name (parallel arrays), sealed; where a run is given, the audit log says that it used the secret, once.';

-- Bodies of webhooks, as bytes, where their endpoint keeps them.
create table meshhook.webhook_bodies (
  run_id uuid primary key,
  project_id uuid not null,
  endpoint_id uuid not null,
  received_at timestamptz not null default now(),
  expires_at timestamptz not null,
  head jsonb not null,
  body bytea not null
);
create index webhook_bodies_expiry on meshhook.webhook_bodies (expires_at);
comment on table meshhook.webhook_bodies is 'Bodies of webhooks as they came, where the endpoint keeps them; for admins.';
comment on column meshhook.webhook_bodies.head is 'The headers that the endpoint names; never Authorization, never Cookie.';

create function meshhook_engine.keep_bodies(p_endpoint uuid[], p_run uuid[], p_body bytea[],
  p_head jsonb[]) returns void
language sql security definer set search_path = '' as $$
  insert into meshhook.webhook_bodies (run_id, project_id, endpoint_id, expires_at, head, body)
  select x.run, e.project_id, e.id, now() + e.keep_body_days * interval '1 day',
    coalesce(x.head, '{}'), x.body
  from unnest(p_endpoint, p_run, p_body, p_head) x(endpoint, run, body, head)
  join meshhook.endpoints e on e.id = x.endpoint
  where x.body is not null and e.keep_body_days is not null
$$;
comment on function meshhook_engine.keep_bodies(uuid[], uuid[], bytea[], jsonb[]) is
  'Keep the bodies (parallel arrays; null: not this one) for as long as their endpoints say.';

create function meshhook_engine.purge_bodies(p_limit int default 1000) returns bigint
language plpgsql security definer set search_path = '' as $$
declare
  n bigint;
begin
  delete from meshhook.webhook_bodies where run_id in (
    select run_id from meshhook.webhook_bodies where expires_at < now()
    order by expires_at limit p_limit for update skip locked);
  get diagnostics n = row_count;
  return n;
end
$$;
comment on function meshhook_engine.purge_bodies(int) is
  'Remove bodies whose time is over, the oldest first; how many.';

-- Rates: an endpoint's bucket, of which gateways lease slices. Unlogged: after a crash buckets are
-- full.
create unlogged table meshhook_engine.rate_buckets (
  endpoint_id uuid primary key references meshhook.endpoints on delete cascade,
  tokens double precision not null,
  at timestamptz not null default clock_timestamp()
);
comment on table meshhook_engine.rate_buckets is 'What endpoints with a rate still take now; gateways lease slices of it.';

create function meshhook_engine.lease_tokens(p_endpoint uuid, p_want int, p_rate int, p_burst int)
returns table (granted int, remaining int, retry_ms int)
language plpgsql security definer set search_path = '' as $$
declare
  bucket meshhook_engine.rate_buckets;
  have double precision;
begin
  perform set_config('synchronous_commit', 'off', true);
  insert into meshhook_engine.rate_buckets (endpoint_id, tokens)
  select e.id, p_burst from meshhook.endpoints e where e.id = p_endpoint on conflict do nothing;
  select * into bucket from meshhook_engine.rate_buckets b
  where b.endpoint_id = p_endpoint for no key update;
  if not found then -- the endpoint is gone
    granted := 0;
    remaining := 0;
    retry_ms := 1000;
    return next;
    return;
  end if;
  have := least(p_burst, bucket.tokens
    + p_rate * greatest(extract(epoch from clock_timestamp() - bucket.at), 0));
  granted := least(p_want, floor(have)::int);
  remaining := floor(have)::int - granted;
  retry_ms := case when granted > 0 then 0 else ceil((1 - have) * 1000 / p_rate) end;
  update meshhook_engine.rate_buckets b set tokens = have - granted, at = clock_timestamp()
  where b.endpoint_id = p_endpoint;
  return next;
end
$$;
comment on function meshhook_engine.lease_tokens(uuid, int, int, int) is
  'Take up to p_want tokens out of an endpoint''s bucket, which p_rate a second fill up to p_burst. None: when to ask again.';
