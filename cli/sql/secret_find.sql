-- $1 project, $2 name: the version that it has, if there is one.
select s.id, s.version from meshhook.secrets s where s.project_id = $1::uuid and s.name = $2
