-- Of the names $2, by blanks, those that the project has no secret of.
select coalesce(string_agg(n, ' ' order by n), '') as names
from unnest(string_to_array($2, ' ')) n
where n not in (select s.name from meshhook.secrets s where s.project_id = $1::uuid)
