update meshhook.silences set ends_at = greatest(now(), starts_at + interval '1 microsecond')
where id = $1::uuid and ends_at > now() returning id
