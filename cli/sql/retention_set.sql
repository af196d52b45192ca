-- $1 months, 0 for ever, or null: as it was; $2 whether archived first, or null
select meshhook_engine.set_retention($1, $2)
