delete from meshhook.secrets where project_id = $1::uuid and name = $2 returning name
