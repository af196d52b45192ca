-- $1 project or null, $2 name, $3 least severity, $4 labels by lines, $5 wait, $6 interval, $7 repeat, in
-- ms, $8 messages a minute, $9 enabled; null: as it is
update meshhook.alert_channels set min_severity = coalesce($3, min_severity),
  group_by = coalesce(string_to_array($4, E'\n'), group_by), wait_ms = coalesce($5, wait_ms),
  interval_ms = coalesce($6, interval_ms), repeat_ms = coalesce($7, repeat_ms),
  per_minute = coalesce($8, per_minute), enabled = coalesce($9, enabled)
where project_id is not distinct from $1::uuid and name = $2
returning json_build_object('name', name, 'kind', kind, 'target', target, 'id', id,
  'min_severity', min_severity, 'group_by', group_by, 'enabled', enabled)::text as record
