// The whole of followLogs in random worlds: requests are slow and fail, broadcasts are lost, doubled
// and late, topics move, retention takes lines, the numbering begins anew. Time is ours.
// FIRST_SEED=n SEEDS=n node --test test/world.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { followLogs } from "../dist/esm/index.js";

const real = { setTimeout, clearTimeout, now: Date.now };
const turn = () => new Promise((resolve) => setImmediate(resolve));

// mulberry32
function random(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Timers in the order of their time; all that follows from one comes before the next. */
class Clock {
  now = 1e12;
  #timers = new Map();
  #n = 0;

  install() {
    globalThis.setTimeout = (fn, ms = 0) => (this.#timers.set(++this.#n, { at: this.now + Math.max(0, ms), fn }), this.#n);
    globalThis.clearTimeout = (n) => this.#timers.delete(n);
    Date.now = () => this.now;
  }
  remove() {
    globalThis.setTimeout = real.setTimeout;
    globalThis.clearTimeout = real.clearTimeout;
    Date.now = real.now;
  }
  async run(until) {
    for (await turn(); ; await turn()) {
      let first;
      for (const [n, t] of this.#timers) if (!first || t.at < first.at) first = { n, ...t };
      if (!first || first.at > until) break;
      this.#timers.delete(first.n);
      this.now = Math.max(this.now, first.at);
      first.fn();
    }
    this.now = until;
  }
}

class World {
  epoch = 1;
  generation = 1;
  lines = []; // of this epoch, from 1
  gone = 0;
  ended = false;
  calm = false;
  channels = new Set();

  constructor(rnd, clock) {
    this.rnd = rnd;
    this.clock = clock;
  }
  chance = (percent) => !this.calm && this.rnd() * 100 < percent;
  below = (n) => Math.floor(this.rnd() * n);
  get topic() {
    return `mh:${this.generation}:logs:run:p:r`;
  }
  /** An answer, of what was there at some moment between question and answer. */
  answer(read) {
    return new Promise((resolve) => setTimeout(() => {
      const wrong = this.chance(5);
      const data = wrong ? null : read();
      setTimeout(() => resolve(wrong ? { data, error: { message: "no", code: "57014" } } : { data, error: null }), this.below(this.chance(5) ? 3000 : 60));
    }, this.below(this.chance(5) ? 3000 : 60)));
  }
  append(n) {
    if (this.ended) return;
    const from = this.lines.length + 1;
    for (let i = 0; i < n; i++)
      this.lines.push({ seq: from + i, ts: "", level: 9, message: `${this.epoch}:${from + i}`, attrs: null, source: null });
    this.tell(this.rnd() < 0.8 ? { event: "log", payload: { epoch: this.epoch, from, to: this.lines.length, lines: this.lines.slice(from - 1) } }
      : { event: "hint", payload: { epoch: this.epoch, last_seq: this.lines.length } });
  }
  tell(message, topic = this.topic) {
    for (const c of this.channels)
      for (let copies = this.chance(15) ? 0 : this.chance(10) ? 2 : 1; copies > 0; copies--)
        setTimeout(() => c.topic === topic && c.state === "joined" && c.hear(structuredClone(message)), this.below(this.chance(10) ? 2000 : 20));
  }
  move() {
    const old = this.topic;
    this.generation++;
    if (!this.chance(30)) this.tell({ event: "moved", payload: {} }, old);
  }
  /** Lines after `seq` are lost, and others get their numbers. */
  recover(seq) {
    this.lines.length = Math.min(this.lines.length, seq);
    this.gone = Math.min(this.gone, this.lines.length);
    this.epoch++;
    for (const l of this.lines) l.message = `${this.epoch}:${l.seq}`;
  }
  client() {
    const world = this;
    return {
      schema: () => ({
        rpc: () => ({ single: () => world.answer(() => ({ topic: world.topic, epoch: world.epoch,
          last_seq: world.lines.length, ended: world.ended, interval_ms: 50 })) }),
        from: () => {
          const q = { from: 0, to: 0 };
          return { select() { return this; }, eq() { return this; }, order() { return this; },
            gte(_, n) { q.from = n; return this; }, lte(_, n) { q.to = n; return this; },
            limit: () => world.answer(() => world.lines.slice(Math.max(q.from - 1, world.gone), q.to).slice(0, 20)
              .map((l) => ({ ...l }))) };
        },
      }),
      realtime: { setAuth: async () => {} },
      channel: (topic) => {
        const c = { topic, state: "closed", on(_, { event }, fn) { this[event] = fn; return this; },
          hear({ event, payload }) { this[event]({ payload }); },
          subscribe(fn) {
            world.channels.add(this);
            this.state = "joining";
            setTimeout(() => { if (this.state === "joining") { this.state = "joined"; fn("SUBSCRIBED"); } }, world.below(200));
            this.close = () => { if (this.state === "joined") { this.state = "closed"; world.channels.delete(this); fn("CLOSED"); } };
            return this;
          } };
        return c;
      },
      removeChannel: async (c) => { c.state = "closed"; world.channels.delete(c); },
    };
  }
}

async function live(seed) {
  const clock = new Clock();
  const rnd = random(seed);
  const w = new World(rnd, clock);
  let at = { epoch: 0, seq: 0 }; // handed over up to here; epoch 0: nothing yet
  const kept = rnd() < 0.3;
  let wrong;
  let over = false;
  const demand = (what, text) => { if (!what) wrong ??= new Error(`seed ${seed}: ${text}`); };

  clock.install();
  try {
    w.append(w.below(60));
    if (kept) at = { epoch: w.epoch, seq: w.below(w.lines.length + 1) };
    if (kept && rnd() < 0.3) w.recover(w.below(60));
    if (rnd() < 0.3) w.gone = w.below(w.lines.length + 1);
    let fresh = !kept; // the first lines may begin behind what is gone
    followLogs(w.client(), "logs:run:p:r", {
      cursor: kept ? { ...at } : undefined,
      onLines: (lines, cursor) => {
        for (const l of lines) {
          demand(l.seq === at.seq + 1 || (fresh && l.seq > at.seq), `line ${l.seq} behind ${at.seq}`);
          fresh = false;
          at = { epoch: cursor.epoch, seq: l.seq, message: l.message };
        }
        demand(cursor.seq === at.seq, "the cursor is not the last line's");
      },
      onGap: (gap) => {
        demand(gap.from === at.seq + 1, `a gap from ${gap.from} behind ${at.seq}`);
        if (gap.reason === "reset") fresh = true;
        at = gap.reason === "reset" ? { epoch: 0, seq: 0 } : { epoch: at.epoch, seq: gap.to };
      },
      onEnd: () => (over = true),
      onError: (e) => demand(false, e.message),
    });
    for (let i = 0; i < 60 && !wrong; i++) {
      await clock.run(clock.now + w.below(w.chance(10) ? 20000 : 400));
      if (w.chance(60)) w.append(1 + w.below(w.chance(10) ? 50 : 4));
      if (w.chance(4)) w.move();
      if (w.chance(4)) w.gone = Math.min(w.lines.length, w.gone + w.below(10));
      if (w.chance(3) && !w.ended) w.recover(w.below(80));
      if (w.chance(4)) for (const c of [...w.channels]) c.close?.();
      if (w.chance(1)) w.ended = true;
    }
    w.calm = true;
    await clock.run(clock.now + 120000);
    w.append(3);
    w.ended = true;
    await clock.run(clock.now + 120000);
    const last = w.lines.length;
    demand(over, "the end was not told");
    demand(at.seq === last || (fresh && w.gone === last), `${at.seq} of ${last} lines`);
    demand(at.seq === 0 || !at.message || at.message === `${w.epoch}:${at.seq}`, `line ${at.message} of another numbering`);
  } finally {
    clock.remove();
  }
  if (wrong) throw wrong;
}

const seeds = Number(process.env.SEEDS ?? 300);
const first = Number(process.env.FIRST_SEED ?? 1);

test(`lines come in order and once, in ${seeds} worlds from ${first}`, { timeout: 120000 }, async () => {
  for (let seed = first; seed < first + seeds; seed++) await live(seed);
});
