-- $3: a version; null: the published one, or the draft where there is none; 0: the draft.
select row_to_json(x)::text as record from (
  select w.id, w.name, v.version, v.published_at, v.published_by, w.updated_at,
    coalesce(v.definition, w.draft) as definition
  from meshhook.workflows w
  left join meshhook.versions v on v.workflow_id = w.id
    and v.version = coalesce($3, w.published_version)
  where w.project_id = $1::uuid and w.name = $2
    and ($3 is null or $3 = 0 or v.version is not null)
) x
