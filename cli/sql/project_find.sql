-- The projects that $1 (a slug or an id, or null: any) may mean; two at most.
select p.id, p.slug from meshhook.projects p
where $1 is null and p.id <> meshhook_engine.canary_id() or p.id::text = lower($1) or p.slug = $1
order by p.id::text = lower($1) desc, p.slug limit 2
