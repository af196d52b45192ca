delete from meshhook.alert_channels where project_id is not distinct from $1::uuid and name = $2 returning name
