-- Every value of every project whose envelope names another key than $1.
select v.secret_id, s.project_id, s.name, v.version, v.sealed
from meshhook_engine.secret_values v join meshhook.secrets s on s.id = v.secret_id
where split_part(v.sealed, '.', 2) <> $1
  and (v.expires_at is null or v.expires_at > now()) order by v.secret_id, v.version
