-- $1 project or null, $2 channel: PagerDuty's incident is resolved again
insert into meshhook.outbox (channel_id, project_id, group_key, dedup_key, kind, body, fence)
select c.id, c.project_id, 'test', 'meshhook/' || c.id || '/test', 'test', jsonb_build_object('kind', 'test',
    'status', s.status, 'at', t.at, 'group', '{}'::jsonb, 'more', 0, 'alerts', jsonb_build_array(
      jsonb_build_object('id', gen_random_uuid(), 'rule', 'test', 'severity', 'info', 'status', s.status,
        'project', p.slug, 'labels', '{}'::jsonb, 'value', 1, 'since', t.at, 'fired_at', t.at,
        'resolved_at', case when s.status = 'resolved' then t.at end,
        'summary', 'A test of channel ' || c.name || ' by meshhook alert send-test',
        'description', 'Nothing is wrong.', 'runbook', ''))), 0
from meshhook.alert_channels c left join meshhook.projects p on p.id = c.project_id
  cross join (values (1, 'firing'), (2, 'resolved')) s(n, status)
  cross join (select to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at) t
where c.project_id is not distinct from $1::uuid and c.name = $2 and (s.n = 1 or c.kind = 'pagerduty')
order by s.n
returning id
