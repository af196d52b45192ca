#!/usr/bin/env bash
# The local stack: started, found running, refused on a taken port, killed,
# reset; that its role postgres may do no more than a hosted project's; and what
# answers on its API port.
# Prints TAP. Runs beside any other stack, in a folder and on ports of its own.
# shellcheck disable=SC2319
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh
set +e

export MESHHOOK_STACK_DIR=$MH_HOME/stack-test
base=$(free_port_base)
export MESHHOOK_STACK_PORT_BASE=$base
port=$((base + 22))
out=$(mktemp)
holder=
cleanup() {
	[ -z "$holder" ] || kill "$holder" 2>/dev/null
	scripts/stack stop >/dev/null 2>&1
	rm -rf "$MESHHOOK_STACK_DIR" "$out"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

n=0 bad=0
ok() { # ok RC NAME
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$out"
		bad=$((bad + 1))
	fi
}
run() { "$@" >"$out" 2>&1; }
said() { grep -qE -- "$1" "$out"; }
sql() { psql "$SUPABASE_DB_URL" -XqAt -v ON_ERROR_STOP=1 -c "$1" >"$out" 2>&1; }
allowed() { sql "begin; $1; rollback"; ok $? "postgres may: $1"; }
refused() { ! sql "begin; $1; rollback" && said 'permission denied|must be|superuser'; ok $? "postgres may not: $1"; }

rm -rf "$MESHHOOK_STACK_DIR"

for taken in "$port" "$((base + 21))"; do
	python3 -m http.server "$taken" --bind 127.0.0.1 >/dev/null 2>&1 &
	holder=$!
	for _ in $(seq 1000); do [ -n "$(listener_inode "$taken")" ] && break; sleep 0.05; done
	run scripts/stack start; [ $? -eq 1 ]; ok $? 'start fails where its port is taken'
	said "port $taken .*http.server.*pid $holder"; ok $? 'the error names the port, the process and its pid'
	[ ! -e "$MESHHOOK_STACK_DIR/data" ]; ok $? 'and nothing was touched'
	kill "$holder"; wait "$holder" 2>/dev/null; holder=
done

run scripts/stack status; [ $? -eq 3 ]; ok $? 'status of a stopped stack exits 3'
stopped_env=$(scripts/stack env)
first=$(date +%s%N)
run scripts/stack start; ok $? 'start makes and starts the database'
first=$((($(date +%s%N) - first) / 1000000))
eval "$(scripts/stack env)"
[ "$stopped_env" = "$(scripts/stack env)" ]; ok $? 'env says the same stopped and running'
pid=$(as_postgres head -n 1 "$MESHHOOK_STACK_DIR/data/postmaster.pid")
before=$(date +%s%N)
run scripts/stack start; ok $? 'a second start succeeds'
[ $((($(date +%s%N) - before) / 1000000)) -lt "$first" ]; ok $? 'sooner than the first'
[ "$pid" = "$(as_postgres head -n 1 "$MESHHOOK_STACK_DIR/data/postmaster.pid")" ]; ok $? 'and leaves the server alone'
run scripts/stack status; ok $? 'status of a running stack exits 0'
run env MESHHOOK_STACK_PORT_BASE=19900 scripts/stack start
[ $? -eq 1 ] && said "already runs, on port $port"; ok $? 'start on other ports is refused while it runs'
(unset MESHHOOK_STACK_PORT_BASE; scripts/stack env) | grep -q "127.0.0.1:$port/"; ok $? 'env remembers the ports it was started on'

[ "$(psql "$MESHHOOK_STACK_SUPERUSER_DB_URL" -XAtc "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level')")" = \
	'fsync=on full_page_writes=on synchronous_commit=on wal_level=logical' ]; ok $? 'durability is on, WAL is logical'
sql "select rolsuper, rolbypassrls, current_setting('server_version') like '17.%' from pg_roles where rolname = current_user" && said '^f\|t\|t$'; ok $? 'postgres is no superuser, on version 17'
allowed 'create extension if not exists pgmq'
allowed 'create extension if not exists pgtap with schema extensions'
allowed 'create role some_login login bypassrls'
allowed 'create policy some_policy on realtime.messages for select to authenticated using (true)'
allowed "create table public.t (); alter publication supabase_realtime add table public.t"
refused 'create table realtime.t ()'
refused 'alter table realtime.messages add t int'
refused 'drop table realtime.messages'
refused 'create table auth.t ()'
refused 'create publication p for all tables'
refused 'create event trigger e on ddl_command_end execute function pgrst_ddl_watch()'
sql "begin; set local role authenticated; set local request.jwt.claims = '{\"sub\": \"00000000-0000-4000-8000-000000000001\", \"role\": \"authenticated\"}'; select auth.uid(), auth.role(); rollback" && said '^00000000-0000-4000-8000-000000000001\|authenticated$'; ok $? 'auth.uid() and auth.role() read the claims'
sql "begin; select realtime.send('{\"a\": 1}', 'e', 't'); select payload ->> 'a', payload ? 'id', event, topic from realtime.messages; rollback" && said '^1\|t\|e\|t$'; ok $? 'realtime.send() inserts one row'

head_body=${SUPABASE_ANON_KEY%.*}
signature=$(printf %s "$head_body" | openssl dgst -sha256 -hmac "$SUPABASE_JWT_SECRET" -binary | openssl base64 -A | tr '+/' '-_' | tr -d =)
[ "$signature" = "${SUPABASE_ANON_KEY##*.}" ]; ok $? 'the anon key is signed with the secret'
[ "$(printf %s "$MESHHOOK_INTAKE_KEY" | openssl base64 -d -A | wc -c)" -eq 32 ]; ok $? 'the intake key is 32 bytes'
[ "$(printf %s "$MESHHOOK_SECRET_KEY" | openssl base64 -d -A | wc -c)" -eq 32 ]; ok $? 'the key of secrets is 32 bytes'
[ "$(stat -c %a "$MESHHOOK_STACK_DIR/secrets")" = 600 ]; ok $? 'secrets are for their owner only'

# rest KEY PATH [CURL ARGS]: an HTTP status, the body in $out
rest() {
	local key=$1 path=$2
	shift 2
	curl -sS -o "$out" -w '%{http_code}' -H "apikey: $key" "$SUPABASE_URL$path" "$@"
}
for key in "$SUPABASE_PUBLISHABLE_KEY" "$SUPABASE_ANON_KEY"; do
	[ "$(rest "$key" /auth/v1/health)" = 200 ]; ok $? "Auth answers to ${key:0:8}..."
	[ "$(rest "$key" /rest/v1/projects -H 'Accept-Profile: meshhook')" = 401 ]; ok $? 'and REST does not show it a project'
done
for key in "$SUPABASE_SECRET_KEY" "$SUPABASE_SERVICE_ROLE_KEY"; do
	[ "$(rest "$key" /rest/v1/rpc/create_project -H 'Content-Profile: meshhook' --json "{\"slug\": \"${key:0:2}\", \"name\": \"n\"}")" = 200 ]; ok $? "REST calls a function for ${key:0:8}..."
done
[ "$(rest nobody /auth/v1/health)" = 401 ]; ok $? 'another key is refused'
[ "$(rest "$SUPABASE_ANON_KEY" /auth/v1/signup --json '{"email": "ada@example.com", "password": "analytical"}')" = 200 ]; ok $? 'a user can sign up'
token=$(sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p' "$out")
signature=$(printf %s "${token%.*}" | openssl dgst -sha256 -hmac "$SUPABASE_JWT_SECRET" -binary | openssl base64 -A | tr '+/' '-_' | tr -d =)
[ "$signature" = "${token##*.}" ]; ok $? 'the token is signed with the secret'
[ "$(rest "$SUPABASE_ANON_KEY" /rest/v1/projects -H 'Accept-Profile: meshhook' -H "Authorization: Bearer $token")" = 200 ] && said '^\[\]$'; ok $? 'and shows its user no stranger'"'"'s project'
sql 'create table public.made (at timestamptz); grant select, insert on public.made to anon' &&
	sql "insert into public.made values ('2026-01-02 03:04:05.678901+00')"
for _ in $(seq 600); do [ "$(rest "$SUPABASE_ANON_KEY" /rest/v1/made)" = 200 ] && break; sleep 0.05; done
said '^\[{"at":"2026-01-02T03:04:05.678901\+00:00"}\]$'; ok $? 'a new table is served, its times as PostgREST writes them'
sql 'drop table public.made'
[ "$(rest "$SUPABASE_SECRET_KEY" /_system/info)" = 404 ]; ok $? 'nothing else is served'

if [ -x "${MESHHOOK_BIN:-build/meshhook}" ] && compgen -G 'migrations/[0-9]*.sql' >/dev/null; then
	run scripts/stack status; said "gateway on 127.0.0.1:$((base + 32))"; ok $? 'a gateway that is built is started'
	run curl -fsS "http://127.0.0.1:$((base + 32))/readyz"; ok $? 'and ready'
	run scripts/stack status; said ', monitor'; ok $? 'so is a monitor'
	for _ in $(seq 600); do sql 'select max(at) from meshhook.queue_metrics' && said '^20' && break; sleep 0.1; done
	said '^20'; ok $? 'and it measures'
	watcher=$(cat "$MESHHOOK_STACK_DIR/monitor/pid")
	run scripts/stack start; [ "$watcher" = "$(cat "$MESHHOOK_STACK_DIR/monitor/pid")" ] && kill -0 "$watcher"; ok $? 'once'
	kill -9 "$watcher"
	run scripts/stack start --without monitor; ! scripts/stack status 2>&1 | grep -q monitor; ok $? 'unless it is not wanted'
	kill "$(cat "$MESHHOOK_STACK_DIR/gateway/pid")"
	for _ in $(seq 200); do scripts/stack status 2>&1 | grep -q gateway || break; sleep 0.05; done
fi
[ "$(rest "$SUPABASE_ANON_KEY" /realtime/v1/websocket)" = 503 ] && said 'stack start --with gateway'; ok $? 'Realtime without a gateway says what to do'
kill -9 "$(cat "$MESHHOOK_STACK_DIR/api/pid")"
run scripts/stack start --without gateway,monitor; ok $? 'start starts what is missing'
[ "$(rest "$SUPABASE_ANON_KEY" /auth/v1/health)" = 200 ]; ok $? 'and the api answers again'
run scripts/stack start --with nonsense; [ $? -eq 1 ] && said 'there are: api gateway worker monitor'; ok $? 'an unknown part is an error that names those there are'

if compgen -G 'migrations/[0-9]*.sql' >/dev/null; then
	rm -f "$MESHHOOK_STACK_DIR/migrations.sha256"
	run scripts/stack start && grep -q 'up to date' "$MESHHOOK_STACK_DIR/push.log"; ok $? 'a second push is a no-op'
	for role in worker gateway; do
		url=MESHHOOK_${role^^}_DB_URL
		run psql "${!url}" -XAtc 'select current_user' && said "^meshhook_$role$"; ok $? "the $role's role can log in"
	done
fi

sql 'create table public.kept as select 1 as x'
kill -9 "$pid"
run scripts/stack start; ok $? 'start recovers from kill -9'
sql 'select x from public.kept' && said '^1$'; ok $? 'and no row is lost'
run scripts/stack restart-db; ok $? 'restart-db restarts'
sql 'select 1'; ok $? 'and the server answers'
for _ in $(seq 600); do [ "$(rest "$SUPABASE_ANON_KEY" '/rest/v1/projects?limit=0' -H 'Accept-Profile: meshhook')" = 401 ] && said permission && break; sleep 0.05; done
said permission; ok $? 'and so does the api'
run scripts/stack reset; ok $? 'reset starts afresh'
sql "select to_regclass('public.kept') is null" && said '^t$'; ok $? 'without the old data'
[ "$stopped_env" = "$(scripts/stack env)" ]; ok $? 'with the old keys'
kill -9 "$(as_postgres head -n 1 "$MESHHOOK_STACK_DIR/data/postmaster.pid")"
run scripts/stack reset; ok $? 'reset works on a killed server too'
run scripts/stack stop; ok $? 'stop stops'
[ -z "$(listener_inode "$port")$(listener_inode $((base + 21)))" ]; ok $? 'and its ports are free'
run scripts/stack stop; ok $? 'a second stop is harmless'
run env MESHHOOK_STACK_PORT_BASE=99999 scripts/stack env; [ $? -eq 1 ] && said MESHHOOK_STACK_PORT_BASE; ok $? 'a bad port base is an error that names it'
run scripts/stack fly; [ $? -eq 2 ]; ok $? 'an unknown command is a usage error'

echo "1..$n"
[ "$bad" -eq 0 ]
