// PgBouncer in transaction mode before the database of a URL, on a port that it found free.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

async function free_port() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.on('listening', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
const listens = (port) => new Promise((resolve) => {
  const s = net.connect(port, '127.0.0.1', () => resolve(true) || s.destroy()).on('error', () => resolve(false));
});

// {url, close()}; settings: lines of its [pgbouncer] section.
export async function pooler(url, settings = []) {
  const to = new URL(url);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshhook-pool-'));
  const file = path.join(dir, 'ini');
  fs.writeFileSync(path.join(dir, 'users'), `"${to.username}" "${decodeURIComponent(to.password)}"\n`);
  fs.chmodSync(dir, 0o777);
  for (let tries = 0; tries < 5; tries++) { // somebody else may take the port meanwhile: then it ends
    const port = await free_port();
    fs.writeFileSync(file, [`[databases]\n${to.pathname.slice(1)} = host=${to.hostname} port=${to.port}\n[pgbouncer]`,
      'listen_addr = 127.0.0.1', `listen_port = ${port}`, 'auth_type = plain', `auth_file = ${dir}/users`,
      'pool_mode = transaction', 'unix_socket_dir =', `logfile = ${dir}/log`, ...settings, ''].join('\n'));
    const child = spawn('/usr/sbin/pgbouncer', [...(process.getuid() === 0 ? ['-u', 'nobody'] : []), file], { stdio: 'ignore' });
    while (child.exitCode === null && !(await listens(port))) await new Promise((r) => setTimeout(r, 20));
    if (child.exitCode !== null) continue;
    const pooled = new URL(url);
    pooled.hostname = '127.0.0.1';
    pooled.port = String(port);
    return { url: pooled.href, close: () => {
      child.kill('SIGKILL');
      fs.rmSync(dir, { recursive: true, force: true });
    } };
  }
  assert.fail(`no pooler: ${fs.readFileSync(path.join(dir, 'log'), 'utf8')}`);
}
