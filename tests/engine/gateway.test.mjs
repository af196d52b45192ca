// A gateway without a file descriptor left waits for one; it doesn't spin, and it goes on.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { spawn } from 'node:child_process';
import { binary, sleep, until, World } from '../crash/lib.mjs';

const port = Number(process.env.MESHHOOK_GATEWAY_PORT) + 7;
// Ticks of the CPU (10 ms) that the process has used.
const ticks = (pid) => {
  const f = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(f[11]) + Number(f[12]);
};
const lives = () => fetch(`http://127.0.0.1:${port}/livez`, { signal: AbortSignal.timeout(3000) })
  .then((r) => r.status === 200, () => false);

test('without descriptors the accept loop rests', { timeout: 300000 }, async () => {
  const w = await World.open('descriptors');
  const c = spawn('bash', ['-c', 'ulimit -n 40; exec "$0" gateway --port "$1"', binary, String(port)],
    { env: w.env, stdio: 'ignore' });
  const over = new Promise((resolve) => c.on('exit', (code) => resolve(code)));
  try {
    await until('the gateway is up', lives);
    const many = Array.from({ length: 60 }, () => net.connect({ port, host: '127.0.0.1' }).on('error', () => {}));
    await until('no descriptor is left', () => fs.readdirSync(`/proc/${c.pid}/fd`).length >= 40);
    const before = ticks(c.pid), from = Date.now();
    await sleep(1000);
    const used = ticks(c.pid) - before, hundredths = (Date.now() - from) / 10;
    assert.ok(used < 0.3 * hundredths, `${used} ticks of ${hundredths}: it spins`);
    many.forEach((s) => s.destroy());
    await until('it answers again', lives);
    c.kill('SIGTERM');
    assert.equal(await over, 0);
  } finally {
    c.kill('SIGKILL');
    await w.close();
  }
});
