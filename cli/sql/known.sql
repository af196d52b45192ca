-- Is there a $1 named $3: of the project $2, or, where that is null, of the installation?
select case $1
  when 'workflow' then exists (select from meshhook.workflows w where w.project_id = $2::uuid and w.name = $3)
  when 'channel' then exists (select from meshhook.alert_channels c
    where c.project_id is not distinct from $2::uuid and c.name = $3)
  when 'rule' then exists (select from meshhook.alert_rules r
    where r.project_id is not distinct from $2::uuid and r.name = $3)
  when 'rule of any' then exists (select from meshhook.alert_rules r where r.name = $3)
end as known
