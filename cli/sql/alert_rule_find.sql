-- $1 project or null: the installation's first, $2 name
select expr, hold_s, keep_s, project_id::text as project_id, workflow_id::text as workflow_id from meshhook.alert_rules
where (project_id is null or project_id = $1::uuid) and name = $2 order by project_id nulls last limit 1
