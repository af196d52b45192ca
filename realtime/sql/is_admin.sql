-- As the user: behind become.
select cardinality(meshhook_engine.my_projects('admin')) > 0 as admin;
