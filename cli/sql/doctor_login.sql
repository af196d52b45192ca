-- May who is logged in do the work of this function's callers?
select current_user::text as role,
  coalesce(has_function_privilege(to_regproc($1), 'execute'), false) as allowed
