-- $1 channels, $2 since when: as the user, in the transaction of become.sql
select n, channel, project_id, service, resource, channel_id, epoch, last_seq, final_seq, start_seq,
  error, at
from meshhook_engine.attach($1, $2);
