// What can't be stored, or would break out: a clear failure of that step alone.
import test from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { World, checkRun, until } from './lib.mjs';

const cases = {
  '/nul': ['{"v":"a\\u0000b"}', 'application/json'],
  '/surrogate': ['{"v":"\\ud800"}', 'application/json'],
  '/huge-number': ['{"v":1e999999}', 'application/json'],
  '/deep': ['['.repeat(10000) + ']'.repeat(10000), 'application/json'],
  '/not-json': ['{"v":', 'application/json'],
  '/bytes': [Buffer.from([0xff, 0xfe, 0, 1]), 'text/plain'],
};

test('garbage from a server fails that step with a reason, or is kept as text; never the worker', { timeout: 300000 }, async () => {
  const w = await World.open('garbage');
  const server = http.createServer((req, res) => {
    if (req.url === '/big') {
      res.writeHead(200, { 'content-type': 'application/octet-stream' });
      let left = 100;
      const more = () => { while (left-- > 0) if (!res.write(Buffer.alloc(1 << 20))) return res.once('drain', more); res.end(); };
      res.on('error', () => {});
      return more();
    }
    const [body, type] = cases[req.url] ?? ['{"ok":true}', 'application/json'];
    res.writeHead(200, { 'content-type': type });
    res.end(body);
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  const at = `http://127.0.0.1:${server.address().port}`;
  try {
    const names = [...Object.keys(cases), '/big'];
    w.publish({ name: 'garbage',
      nodes: [{ id: 'start', type: 'manual' },
        ...names.flatMap((p, i) => [{ id: `c${i}`, type: 'http_call', method: 'GET', url: at + p, timeout: '20s' },
          { id: `e${i}`, type: 'log', message: 'failed' }, { id: `n${i}`, type: 'log', message: 'well' }])],
      edges: names.flatMap((_, i) => [{ from: 'start', to: `c${i}` }, { from: `c${i}`, to: `e${i}`, on: 'error' }, { from: `c${i}`, to: `n${i}` }]) });
    w.publish({ name: 'header', nodes: [{ id: 'start', type: 'manual' },
      { id: 'call', type: 'http_call', method: 'GET', url: `${at}/ok`, headers: { 'x-name': '{{ input.name }}' } }],
    edges: [{ from: 'start', to: 'call' }] });
    w.publish({ name: 'path', nodes: [{ id: 'start', type: 'manual' },
      { id: 'call', type: 'http_call', method: 'GET', url: `${at}/users/{{ input.name }}/profile` }], edges: [{ from: 'start', to: 'call' }] });
    const seen = [];
    server.on('request', (req) => seen.push(req.url));
    const worker = w.worker();
    const garbage = await w.start('garbage');
    const header = await w.start('header', { name: 'a\r\nx-evil: 1' });
    const climb = await w.start('path', { name: '../../admin' });
    const fine = await w.start('path', { name: 'ada' });
    await until('all ended', async () => (await w.pending()) === 0, 120000);

    const events = await checkRun(w, garbage);
    const outcome = (i) => events.find((e) => e.payload.step === `c${i}` && /^step\.(succeeded|failed)$/.test(e.type));
    names.forEach((name, i) => {
      const e = outcome(i);
      assert.ok(e, `${name} has no result`);
      if (e.type === 'step.failed') assert.ok(e.payload.code && e.payload.message, `${name}: ${JSON.stringify(e.payload)}`);
      else assert.ok(e.payload.output.status === 200, name);
    });
    assert.equal(outcome(0).type, 'step.failed', 'NUL can not be stored');
    assert.equal(outcome(2).type, 'step.failed', '1e999999 can not be stored');
    const failed = await checkRun(w, header, 'failed');
    assert.match(failed.find((e) => e.type === 'step.failed').payload.message, /x-name/);
    await checkRun(w, fine);
    const climbed = await w.events(climb);
    assert.ok(!seen.some((u) => u.includes('/admin') && !u.includes('%2F')), `climbed: ${seen}`);
    assert.ok(climbed.some((e) => /^run\.(succeeded|failed)$/.test(e.type)));
    assert.equal(worker.exitCode, null);
    worker.kill('SIGTERM');
    assert.equal((await worker.over).code, 0);
  } finally {
    server.closeAllConnections();
    server.close();
    await w.close();
  }
});
