// Every embedded statement is one that the schema understands.
import test from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import pg from 'pg';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '..', '..');
const statements = ['cli', 'realtime', 'supabase/client', 'worker/engine']
  .map((d) => path.join(root, d, 'sql'))
  .filter((d) => fs.existsSync(d))
  .flatMap((d) => fs.readdirSync(d).filter((f) => f.endsWith('.sql')).map((f) => path.join(d, f)));

test('every embedded statement can be prepared', async () => {
  const c = new pg.Client({ connectionString: process.env.SUPABASE_DB_URL });
  await c.connect();
  assert.ok(statements.length > 10);
  try {
    for (const [i, file] of statements.entries()) {
      const text = fs.readFileSync(file, 'utf8').trim().replace(/;$/, '');
      // the programs say the types of their parameters
      await c.query(`prepare s${i} as ${text}`).catch((e) =>
        assert.match(e.code, /^42P(08|18)$/, `${path.relative(root, file)}: ${e.message}`));
    }
  } finally { await c.end(); }
});
