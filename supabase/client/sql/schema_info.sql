-- allowed: null where there is no such function, which an older schema lacks.
select version, oldest_program, current_user::text as role,
  has_function_privilege(to_regproc($1), 'execute') as allowed
from meshhook_engine.schema_info()
