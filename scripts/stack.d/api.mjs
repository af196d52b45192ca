// The stack's API port, laid out as a hosted project's: REST at /rest/v1 and Auth at /auth/v1 by
// @supabase/lite as a library, /realtime/v1 passed on to the gateway. For local use: it trusts who
// reaches it on 127.0.0.1 no more than a hosted project does, but it is one process with one log.
//
// Environment: API_PORT, GATEWAY_PORT, API_DB_URL (role api_login), ADMIN_DB_URL (supabase_admin),
// JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY, and the keys of the older kind, ANON_KEY and
// SERVICE_ROLE_KEY, which are taken wherever the newer ones are.
import http from "node:http";
import net from "node:net";
import { webcrypto } from "node:crypto";
import postgres from "postgres";

globalThis.crypto ??= webcrypto; // Node 18
const { App, getAuthSchemaSql } = await import("@supabase/lite");
const { createPostgresConnection } = await import("@supabase/lite/postgres");

const env = process.env;
const gateway = { host: "127.0.0.1", port: Number(env.GATEWAY_PORT) };

// The tables of Auth, which a hosted project has from the beginning.
async function makeAuthTables() {
  const sql = postgres(env.ADMIN_DB_URL, { max: 1, onnotice() {} });
  const [{ there }] = await sql`select to_regclass('auth.users') is not null as there`;
  if (!there) {
    await sql.begin(async (tx) => {
      await tx.unsafe(getAuthSchemaSql("postgres")).simple();
      await tx.unsafe(`
        do $$
        declare t text;
        begin
          for t in select tablename from pg_tables where schemaname = 'auth' loop
            execute format('alter table auth.%I owner to supabase_auth_admin', t);
            execute format('grant select, insert, update, delete on auth.%I to api_login', t);
            execute format('grant all on auth.%I to postgres', t);
          end loop;
        end $$`).simple();
    });
  }
  await sql.end();
}

// As PostgREST writes them: 2026-11-21T02:10:58.842123+00:00
const iso = (text) => text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
const timestamp = (oid) => ({ to: oid, from: [oid], serialize: (t) => t, parse: iso });

// Objects and arrays among an rpc's arguments come here written already, those of an insert do not.
const written = (v) => {
  try {
    return typeof v === "string" && /^\s*[[{]/.test(v) && JSON.parse(v) !== undefined;
  } catch {
    return false;
  }
};
const json = (oid) => ({
  to: oid,
  from: [oid],
  serialize: (v) => (written(v) ? v : JSON.stringify(v)),
  parse: JSON.parse,
});

function connect() {
  const connection = createPostgresConnection({
    url: env.API_DB_URL,
    postgresOptions: {
      max: 8,
      onnotice() {},
      connection: { application_name: "stack api" },
      types: { timestamp: timestamp(1114), timestamptz: timestamp(1184), json: json(114), jsonb: json(3802) },
    },
  });
  // Left alone it would grant everything on every table under RLS, and undo what we revoke.
  connection.ensureRlsContext = async () => true;
  return connection;
}

// The older keys stand for the newer; a user's own token stays what it is.
const newer = new Map([
  [env.ANON_KEY, env.PUBLISHABLE_KEY],
  [env.SERVICE_ROLE_KEY, env.SECRET_KEY],
]);
function headersOf(req) {
  const headers = new Headers();
  for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i], req.rawHeaders[i + 1]);
  for (const name of ["apikey", "authorization"]) {
    const [, bearer = "", key] = /^(Bearer )?(.*)$/i.exec(headers.get(name) ?? "");
    if (newer.has(key)) headers.set(name, bearer + newer.get(key));
  }
  return headers;
}

async function answer(req, res) {
  const url = new URL(req.url, `http://127.0.0.1:${env.API_PORT}`);
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const bodied = !["GET", "HEAD"].includes(req.method);
  const request = new Request(url, {
    method: req.method,
    headers: headersOf(req),
    body: bodied ? Buffer.concat(chunks) : undefined,
  });
  await opening;
  flight.add(res);
  const response = await app.fetch(request, { peerAddress: req.socket.remoteAddress }).finally(() => flight.delete(res));
  if (res.headersSent) return;
  const headers = Object.fromEntries(response.headers);
  headers["access-control-allow-origin"] ??= "*";
  headers["access-control-expose-headers"] ??= "Content-Range, Content-Location, sb-error-code";
  res.writeHead(response.status, headers);
  res.end(Buffer.from(await response.arrayBuffer()));
}

function refuse(res, status, message) {
  if (res.headersSent) return;
  res.writeHead(status, { "content-type": "application/json", "access-control-allow-origin": "*" });
  res.end(JSON.stringify({ message }));
}
const noGateway = "no gateway runs: scripts/stack start --with gateway";

// The gateway knows keys of the older kind, which are tokens that it can verify.
const older = new Map([...newer].map(([a, b]) => [b, a]));
const realtimePath = (path) => path.replace(/([?&]apikey=)([^&]*)/, (all, name, key) => name + (older.get(key) ?? key));

function pass(req, res) {
  const headers = { ...req.headers };
  if (older.has(headers.apikey)) headers.apikey = older.get(headers.apikey);
  const options = { ...gateway, path: realtimePath(req.url), method: req.method, headers };
  const onward = http.request(options, (from) => {
    res.writeHead(from.statusCode, from.headers);
    from.pipe(res);
  });
  onward.on("error", () => refuse(res, 503, noGateway));
  req.pipe(onward);
}

// A WebSocket: the same head, then bytes in both directions until either side ends.
function pipe(req, socket, head) {
  const onward = net.connect({ ...gateway, noDelay: true });
  socket.setNoDelay(true);
  socket.on("error", () => onward.destroy());
  socket.on("close", () => onward.destroy());
  onward.on("error", () => socket.end(`HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`));
  onward.on("close", () => socket.destroySoon());
  onward.on("connect", () => {
    const lines = [];
    for (let i = 0; i < req.rawHeaders.length; i += 2) lines.push(`${req.rawHeaders[i]}: ${req.rawHeaders[i + 1]}\r\n`);
    onward.write(`${req.method} ${realtimePath(req.url)} HTTP/1.1\r\n${lines.join("")}\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
}

await makeAuthTables();

// Made anew whenever the database was away: postgres.js can be left with connections that never
// answer again, and forgets what it listened to.
let app, opening;
const flight = new Set();
async function open() {
  const connection = connect();
  const fresh = new App({
    connection,
    api: { schemas: ["public", "meshhook"], extra_search_path: ["public", "extensions"], max_rows: 1000 },
    auth: {
      enabled: true,
      jwt_secret: env.JWT_SECRET,
      jwt_expiry: 3600,
      publishable_key: env.PUBLISHABLE_KEY,
      secret_key: env.SECRET_KEY,
      email: { enable_confirmations: false },
    },
  });
  await fresh.init();
  const ear = postgres(env.API_DB_URL, {
    max: 1,
    idle_timeout: null,
    max_lifetime: null,
    fetch_types: false,
    connection: { application_name: "stack api" },
    onnotify: () => connection.clearSchemaCache(),
    onclose: () => ear === app?.ear && reopen(),
  });
  await ear`listen pgrst`;
  return Object.assign(fresh, { ear });
}
function reopen() {
  opening ??= (async () => {
    for (const res of flight) refuse(res, 503, "the database is away");
    for (const old = app; app === old; )
      try {
        app = await open();
        old?.ear.end({ timeout: 1 });
        old?.connection.driver.end({ timeout: 1 });
      } catch (error) {
        console.error(error.message);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    opening = undefined;
  })();
  return opening;
}
process.on("uncaughtException", (error) => {
  console.error(error);
  reopen();
});
process.on("unhandledRejection", (error) => console.error(error));
await reopen();

const server = http.createServer((req, res) => {
  if (/^\/(rest|auth)\/v1(\/|$|\?)/.test(req.url))
    answer(req, res).catch((error) => {
      console.error(req.method, req.url, error);
      refuse(res, 500, error.message);
    });
  else if (req.url.startsWith("/realtime/v1/")) pass(req, res);
  else refuse(res, 404, "there is /rest/v1, /auth/v1 and /realtime/v1");
});
server.on("upgrade", (req, socket, head) => {
  if (req.url.startsWith("/realtime/v1/")) pipe(req, socket, head);
  else socket.destroy();
});
server.listen(Number(env.API_PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
