-- $1 users, $2 projects, in pairs
select user_id, project_id from meshhook_engine.members_still($1, $2);
