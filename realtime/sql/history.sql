-- $1 channels, $2 least level, $3 since, $4 until, $5 text, $6 attributes, $7 newest first;
-- the page begins after $8 ts, $9 channel, $10 seq; $11 lines. As the user: behind become.
select channel, channel_id, epoch, seq, ts, level, message, attrs::text as attrs, source, client_ts
from meshhook.log_lines(string_to_array($1, ','), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);
