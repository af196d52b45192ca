select w.id, w.draft from meshhook.workflows w where w.project_id = $1::uuid and w.name = $2
