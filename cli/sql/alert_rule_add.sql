-- $1 project, $2 name, $3 expr, $4 hold s, $5 keep s, $6 severity, $7 summary, $8 description, $9 runbook,
-- $10 names of rules by lines, $11 enabled, $12 labels; null: the preset
insert into meshhook.alert_rules (project_id, name, expr, hold_s, keep_s, severity, summary, description,
  runbook, inhibited_by, enabled, labels)
values ($1::uuid, $2, $3, coalesce($4, 0), coalesce($5, 0), coalesce($6, 'warning'), coalesce($7, ''),
  coalesce($8, ''), coalesce($9, ''), coalesce(string_to_array($10, E'\n'), '{}'), coalesce($11, true),
  coalesce($12::jsonb, '{}'))
returning json_build_object('name', name, 'severity', severity, 'expr', expr, 'hold_s', hold_s,
  'keep_s', keep_s, 'enabled', enabled)::text as record
