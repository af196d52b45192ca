select row_to_json(x)::text as record from (
  select s.name, s.version, case when s.hosts = '{}' then 'any' else array_to_string(s.hosts, ', ') end
    as hosts, split_part(v.sealed, '.', 2) as key, s.updated_at,
    (select max(l.at) from meshhook.audit_log l where l.project_id = s.project_id
       and l.action = 'secret.use' and l.subject = s.name) as used_at
  from meshhook.secrets s
  left join meshhook_engine.secret_values v on v.secret_id = s.id and v.version = s.version
  where s.project_id = $1::uuid order by s.name
) x
