-- $1 channels, $2 their epochs, $3 the last seq of each that was read, $4 lines of each at most
select channel_id, epoch, last_seq, final_seq, seq, ts, level, message, attrs, source, at
from meshhook_engine.tail($1, $2, $3, $4);
