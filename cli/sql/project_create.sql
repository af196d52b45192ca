select json_build_object('id', meshhook.create_project($1, $2), 'slug', $1, 'name', $2)::text as record
