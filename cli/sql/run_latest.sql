select r.id::text as id from meshhook.runs r where r.project_id = $1::uuid order by r.id desc limit 1
