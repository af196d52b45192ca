import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";
import { Merge, type Line } from "./merge.js";

export { Merge, type Line };

/** The last line that was handed over, of the channel's numbering `epoch`. */
export interface Cursor {
  epoch: number;
  seq: number;
}

/** Lines that can't be had: removed by retention (`expired`), or (`reset`) of a numbering that is no more. */
export interface Gap {
  channel: string;
  from: number;
  to: number | null;
  reason: "expired" | "reset";
}

export interface FollowOptions {
  /** Go on after this line; without it from the first, or with `tail` from the last few. */
  cursor?: Cursor;
  tail?: number;
  onLines(lines: Line[], cursor: Cursor): void;
  onGap?(gap: Gap): void;
  /** The channel has ended, and all its lines were handed over. */
  onEnd?(): void;
  /** There is no such channel for this user, or no longer: following has stopped. */
  onError?(error: Error): void;
}

export interface Following {
  readonly cursor: Cursor | undefined;
  unsubscribe(): Promise<void>;
}

interface Watched {
  topic: string;
  epoch: number;
  last_seq: number;
  ended: boolean;
  interval_ms: number | null;
}

/** `log` has lines from..to, `hint` only last_seq; `ended` comes with a run's last line. */
interface Message {
  epoch: number;
  to?: number;
  last_seq?: number;
  lines?: Line[];
  ended?: boolean;
}

const RENEW_MS = 15_000;
const POLL_MS = 2_000; // where the project broadcasts nothing
const MOVED_MS = 500; // to a new topic, not all at once
const PAGE = 1000;
// Not a member, no such channel, nobody signed in. Any other error passes, even a 404 of PostgREST's
// own, which it answers while it does not know the schema.
const FINAL = ["PT403", "PT404", "42501"];
const users = new WeakMap<RealtimeChannel, number>();

/**
 * Hand over a channel's lines in order, each exactly once, live as Realtime brings them; what it does
 * not bring is fetched. Works with any supabase-js client: its token, however renewed, is used.
 */
export function followLogs(
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever its Database type
  supabase: SupabaseClient<any, any, any>,
  channel: string,
  options: FollowOptions,
): Following {
  const db = supabase.schema("meshhook");
  const reader = globalThis.crypto?.randomUUID?.() ?? null;
  let cursor = options.cursor;
  let merge: Merge | undefined;
  let watched: Watched | undefined;
  let live: RealtimeChannel | undefined;
  let id: string | undefined; // the channel's, for its history
  let renewAt = 0;
  let over = false;
  let wake = () => {}; // there is something to do
  let rouse = () => {}; // and this even from a nap of penance

  const nap = (ms: number, deaf = false) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      rouse = () => (clearTimeout(timer), resolve());
      wake = deaf ? () => {} : rouse;
    });
  const renewIn = (ms: number) => ((renewAt = Math.min(renewAt, Date.now() + ms)), wake());

  async function ask<T>(query: PromiseLike<{ data: T; error: { message: string; code: string } | null }>) {
    const { data, error } = await query;
    if (error) throw Object.assign(new Error(error.message), { final: FINAL.includes(error.code) });
    return data;
  }

  function hand(lines: Line[]) {
    if (over || !merge || !watched || lines.length === 0) return;
    cursor = { epoch: watched.epoch, seq: lines[lines.length - 1]!.seq };
    const at = cursor;
    call(() => options.onLines(lines, at));
  }

  function leave() {
    const left = live;
    live = undefined;
    if (!left) return;
    const others = (users.get(left) ?? 1) - 1;
    users.set(left, others);
    if (others === 0) return supabase.removeChannel(left);
  }

  async function subscribe(topic: string) {
    void leave();
    await supabase.realtime.setAuth(); // or the first join goes without a token
    if (over) return;
    const joined = (live = supabase.channel(topic, { config: { private: true } }));
    const heard = ({ payload }: { payload: Message }) => {
      if (joined !== live || !merge) return;
      if (payload.epoch !== watched?.epoch || payload.ended) renewIn(0);
      if (payload.epoch !== watched?.epoch) return;
      merge.knows(payload.last_seq ?? payload.to ?? 0);
      hand(merge.take(payload.lines ?? []));
      wake();
    };
    users.set(joined, (users.get(joined) ?? 0) + 1);
    joined
      .on("broadcast", { event: "log" }, heard)
      .on("broadcast", { event: "hint" }, heard)
      .on("broadcast", { event: "moved" }, () => joined === live && renewIn(Math.random() * MOVED_MS))
      .subscribe((status) => {
        if (joined !== live) return;
        if (status === "SUBSCRIBED") renewIn(0); // what came before the join
        if (status === "CLOSED") renewIn(1000 + Math.random() * 2000);
      });
  }

  async function renew() {
    const before = cursor; // the answer may be older than what comes live meanwhile
    renewAt = Infinity; // who wants another meanwhile gets it
    const now = (await ask(db.rpc("watch", { channel, reader }).single())) as Watched;
    if (over) return;
    const moved = watched?.topic !== now.topic || !live || live.state === "closed";
    const epoch = before?.epoch ?? watched?.epoch; // known by a line, or by an earlier watch alone
    const reset = epoch !== undefined && (epoch !== now.epoch || (before?.seq ?? 0) > now.last_seq);
    renewIn(now.interval_ms === null ? POLL_MS : RENEW_MS);
    watched = now;
    if (reset) {
      const from = (cursor?.seq ?? 0) + 1;
      cursor = id = undefined;
      doubted = 0;
      call(() => options.onGap?.({ channel, from, to: null, reason: "reset" }));
    }
    if (!merge || reset) merge = new Merge(reset ? 0 : (before?.seq ?? Math.max(0, now.last_seq - (options.tail ?? Infinity))));
    merge.knows(now.last_seq);
    if (moved && !now.ended) await subscribe(now.topic);
  }

  async function channelId() {
    const [, , , service, project, resource = ""] = watched!.topic.split(":");
    if (service === "run") return resource;
    const query = db.from("channels").select("id").match({ project_id: project, service, resource });
    return ((await ask(query.maybeSingle())) as { id: string } | null)?.id;
  }

  // A hole is believed only when it is still there after another watch: until then this user may
  // have been removed, or have read from a replica that lags.
  let doubted = 0;
  async function fill({ from, to }: { from: number; to: number }) {
    id ??= await channelId();
    const rows = (await ask(
      db.from("logs").select("seq,ts,level,message,attrs,source").eq("channel_id", id)
        .gte("seq", from).lte("seq", to).order("seq").limit(PAGE),
    )) as Line[];
    const first = rows[0]?.seq ?? to + 1;
    if (over || !merge || merge.seq >= from) return; // it came live meanwhile
    if (first > from && doubted !== from) {
      doubted = from;
      renewAt = 0;
      return nap(500, true);
    }
    if (first > from && (cursor || options.cursor)) {
      cursor = { epoch: watched!.epoch, seq: first - 1 };
      call(() => options.onGap?.({ channel, from, to: first - 1, reason: "expired" }));
    }
    if (first > from) hand(merge.skip(first - 1));
    hand(merge.take(rows));
  }

  async function follow() {
    for (let failures = 0; !over; ) {
      try {
        if (Date.now() >= renewAt) await renew();
        const hole = merge?.hole();
        if (hole) await fill(hole);
        else if (watched?.ended) return stop(options.onEnd);
        else await nap(renewAt - Date.now());
        failures = 0;
      } catch (error) {
        if ((error as { final?: boolean }).final) return stop(() => options.onError?.(error as Error));
        renewAt = 0;
        await nap(Math.min(RENEW_MS, 500 * 2 ** failures++) * (0.5 + Math.random() / 2), true);
      }
    }
  }

  async function stop(then?: () => void) {
    if (over) return;
    over = true;
    rouse();
    await leave();
    if (then) call(then);
  }

  void follow();
  return {
    get cursor() {
      return cursor;
    },
    unsubscribe: () => stop(),
  };
}

/** A mistake in a callback is its owner's: it must neither stop nor repeat anything here. */
function call(callback: () => void) {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
