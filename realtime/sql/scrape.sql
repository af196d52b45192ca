-- $1 whether by project
select metric, project, label_value, value from meshhook_engine.scrape($1)
