-- $1 tokens; $2 projects, $3 services, $4 resources of channels; $5 requests, $6 channels, $7 places,
-- $8 levels, $9 messages, $10 attributes, $11 times, $12 ids of lines
select kind, ord, channel_id, seq, why
from meshhook_engine.append_logs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
