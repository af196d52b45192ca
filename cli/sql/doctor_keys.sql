-- By setting and key id: how many envelopes name it, and one of them with what it is bound to.
select distinct on (e.check, e.key) e.check, e.key, count(*) over (partition by e.check, e.key) as n,
  e.project_id, e.place, e.version, e.sealed
from (
  select 'intake-key' as check, split_part(s.sealed, '.', 2) as key, e.project_id,
    'endpoint/' || e.id as place, s.secret_version as version, s.sealed
  from meshhook_engine.endpoint_secrets s join meshhook.endpoints e on e.id = s.endpoint_id
  where s.expires_at is null or s.expires_at > now()
  union all
  select 'intake-key', split_part(s.sealed, '.', 2),
    coalesce(c.project_id, '00000000-0000-0000-0000-000000000000'), 'channel/' || c.id, 1, s.sealed
  from meshhook_engine.channel_secrets s join meshhook.alert_channels c on c.id = s.channel_id
  union all
  select 'secret-key', split_part(v.sealed, '.', 2), s.project_id, 'secret/' || s.name, v.version, v.sealed
  from meshhook_engine.secret_values v join meshhook.secrets s on s.id = v.secret_id
  where v.expires_at is null or v.expires_at > now()
) e
order by e.check, e.key, e.place
