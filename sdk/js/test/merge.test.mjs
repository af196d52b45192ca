// The pure half: whatever comes in whatever order, lines are handed over in order and once, and
// what is missing is named.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Merge } from "../dist/esm/index.js";

const line = (seq) => ({ seq, ts: "", level: 9, message: `line ${seq}`, attrs: null, source: null });
const lines = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => line(from + i));
const seqs = (list) => list.map((l) => l.seq);

test("lines that follow are handed over at once", () => {
  const m = new Merge(0);
  assert.deepEqual(seqs(m.take(lines(1, 3))), [1, 2, 3]);
  assert.equal(m.hole(), undefined);
  assert.equal(m.seq, 3);
});

test("a line seen before is not handed over again", () => {
  const m = new Merge(5);
  assert.deepEqual(seqs(m.take(lines(1, 6))), [6]);
  assert.deepEqual(m.take(lines(1, 6)), []);
});

test("a hole is named, and what came after it waits", () => {
  const m = new Merge(2);
  assert.deepEqual(m.take(lines(6, 8)), []);
  assert.deepEqual(m.hole(), { from: 3, to: 5 });
  assert.deepEqual(seqs(m.take([line(4)])), []);
  assert.deepEqual(m.hole(), { from: 3, to: 3 });
  assert.deepEqual(seqs(m.take([line(3)])), [3, 4]);
  assert.deepEqual(m.hole(), { from: 5, to: 5 });
  assert.deepEqual(seqs(m.take([line(5)])), [5, 6, 7, 8]);
  assert.equal(m.hole(), undefined);
});

test("a hint makes a hole up to what it says", () => {
  const m = new Merge(2);
  m.knows(9);
  m.knows(4);
  assert.deepEqual(m.hole(), { from: 3, to: 9 });
});

test("what is gone is skipped, and what waited for it follows", () => {
  const m = new Merge(0);
  m.take([line(2), ...lines(4, 5)]);
  assert.deepEqual(seqs(m.skip(1)), [2]);
  assert.deepEqual(m.hole(), { from: 3, to: 3 });
  assert.deepEqual(seqs(m.skip(3)), [4, 5]);
  assert.deepEqual(m.skip(2), []);
  assert.equal(m.seq, 5);
});

test("too much that came early is forgotten, not lost", () => {
  const m = new Merge(0);
  m.take(lines(2, 6000));
  assert.deepEqual(m.hole(), { from: 1, to: 6000 });
  assert.equal(seqs(m.take(lines(1, 1000))).length, 1000);
  assert.deepEqual(m.hole(), { from: 1001, to: 6000 });
});

// Lines are dealt out in messages that are lost, repeated and swapped at random; holes are fetched.
test("any order, any loss: each line once, in order", () => {
  for (let seed = 1; seed <= 500; seed++) {
    let x = seed;
    const random = (n) => (x = (x * 48271) % 2147483647) % n;
    const start = random(20);
    const last = start + 1 + random(200);
    const m = new Merge(start);
    const got = [];
    for (let i = 0; i < 60; i++) {
      const from = 1 + random(last);
      const to = Math.min(last, from + random(20));
      if (random(4) === 0) m.knows(to);
      else if (random(3) > 0) got.push(...m.take(random(2) ? lines(from, to) : lines(from, to).reverse()));
      const hole = random(3) === 0 && m.hole();
      if (hole) got.push(...m.take(lines(hole.from, Math.min(hole.to, hole.from + random(10)))));
    }
    m.knows(last);
    for (let hole; (hole = m.hole()); ) got.push(...m.take(lines(hole.from, hole.to)));
    assert.deepEqual(seqs(got), seqs(lines(start + 1, last)), `seed ${seed}`);
  }
});

test("require() gives the same module", () => {
  const { Merge: other, followLogs } = createRequire(import.meta.url)("../dist/cjs/index.js");
  assert.deepEqual(seqs(new other(1).take(lines(1, 2))), [2]);
  assert.equal(typeof followLogs, "function");
});
