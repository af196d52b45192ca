-- as alert_rule_add.sql; null: as it is
update meshhook.alert_rules set expr = coalesce($3, expr), hold_s = coalesce($4, hold_s),
  keep_s = coalesce($5, keep_s), severity = coalesce($6, severity), summary = coalesce($7, summary),
  description = coalesce($8, description), runbook = coalesce($9, runbook),
  inhibited_by = coalesce(string_to_array($10, E'\n'), inhibited_by), enabled = coalesce($11, enabled),
  labels = coalesce($12, labels)
where project_id is not distinct from $1::uuid and name = $2
returning json_build_object('name', name, 'severity', severity, 'expr', expr, 'hold_s', hold_s,
  'keep_s', keep_s, 'enabled', enabled)::text as record
