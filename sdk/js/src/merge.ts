/** One line of a channel. `level` is OpenTelemetry's number: 9 info, 13 warn, 17 error. */
export interface Line {
  seq: number;
  ts: string;
  level: number;
  message: string;
  attrs: Record<string, unknown> | null;
  /** Who wrote it, where that is not the channel's owner. */
  source: string | null;
}

/** More lines than this that came too early are not kept: they can be fetched. */
const EARLY_MOST = 5000;

/**
 * What a reader knows of a channel: the lines up to `seq` were handed over, lines up to `last` are
 * there, and some of those between came before their turn. Pure: no clock, no network.
 */
export class Merge {
  last: number;
  #early = new Map<number, Line>();

  constructor(public seq: number) {
    this.last = seq;
  }

  /** Lines in any order, seen before or not; returns those whose turn it is now. */
  take(lines: readonly Line[]): Line[] {
    const turn: Line[] = [];

    for (const line of lines) {
      this.last = Math.max(this.last, line.seq);
      if (line.seq > this.seq) this.#early.set(line.seq, line);
    }
    for (let line; (line = this.#early.get(this.seq + 1)); this.seq++) {
      this.#early.delete(line.seq);
      turn.push(line);
    }
    if (this.#early.size > EARLY_MOST) this.#early.clear();
    return turn;
  }

  /** There are lines up to `last`, whoever says so. */
  knows(last: number): void {
    this.last = Math.max(this.last, last);
  }

  /** The first lines that are missing. */
  hole(): { from: number; to: number } | undefined {
    if (this.seq >= this.last) return undefined;
    let to = this.last;
    for (const seq of this.#early.keys()) to = Math.min(to, seq - 1);
    return { from: this.seq + 1, to };
  }

  /** The lines up to `to` can't be had any more. */
  skip(to: number): Line[] {
    this.seq = Math.max(this.seq, to);
    for (const seq of this.#early.keys()) if (seq <= this.seq) this.#early.delete(seq);
    return this.take([]);
  }
}
