-- $1 alert, $2 note: nothing unless it fires and nobody acknowledged it
select row_to_json(x)::text as record from (
  select a.id, r.name as rule, a.state, a.acked_by is not null as before,
    meshhook.acknowledge_alert(a.id, $2) as acknowledged
  from meshhook.alerts a join meshhook.alert_rules r on r.id = a.rule_id where a.id = $1::uuid
) x
