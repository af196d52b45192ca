-- $1 project or null: all, $2 rule or null: any, $3 labels, $4 ms, $5 comment
insert into meshhook.silences (project_id, rule, labels, ends_at, comment)
values ($1::uuid, $2, coalesce($3::jsonb, '{}'), now() + $4 * interval '1 millisecond', coalesce($5, ''))
returning json_build_object('id', id, 'rule', rule, 'labels', labels, 'ends_at', ends_at)::text as record
