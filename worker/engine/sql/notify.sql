-- A notification takes a transaction id, and with it a flush of its own unless told otherwise.
select set_config('synchronous_commit', 'off', true),
  case when $1 <> '' then pg_notify('meshhook_logs', $1) end,
  case when $2 then pg_notify('meshhook_work', '') end
