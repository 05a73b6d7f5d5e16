#!/bin/bash
# Instructions of the pooler's own code for one transaction: what stays comparable on a noisy machine. Two runs under callgrind
# that differ in the number of transactions only; epoll, one worker. The servers' and the clients' side is pgvigil-bench-pooler.
# usage: bench/pooler/callgrind.sh [PROTOCOL...]      simple extended prepared rows tls; all of them without an argument
# environment: PGVIGIL_POOLER (default 'build/release/bin/pgvigil pool'; 'pgbouncer' for Debian's), BENCH_TOOL,
#              CALLGRIND_OUT (a directory that keeps the profiles, for callgrind_annotate)
set -euo pipefail
cd "$(dirname "$0")/../.."
read -ra program <<<"${PGVIGIL_POOLER:-build/release/bin/pgvigil pool}"
[ "${program[0]}" = pgbouncer ] && program[0]=/usr/sbin/pgbouncer
program[0]=$(realpath "${program[0]}")
tool=$(realpath "${BENCH_TOOL:-build/release/bin/pgvigil-bench-pooler}")
few=2000 many=12000
command -v valgrind >/dev/null || { echo "callgrind.sh: valgrind is not installed: apt-get install valgrind" >&2; exit 1; }

work=$(mktemp -d) pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; pids=(); wait 2>/dev/null || true; }
finish() { stop; [ -n "${CALLGRIND_OUT:-}" ] && mkdir -p "$CALLGRIND_OUT" && cp "$work"/callgrind.* "$CALLGRIND_OUT"/; rm -rf "$work"; }
trap finish EXIT
# Poolers refuse to run as root.
as=() && [ "$(id -u)" -eq 0 ] && { as=(setpriv --reuid postgres --regid postgres --clear-groups); chown postgres "$work"; chmod 755 "$work"; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
answers() { python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' "$1" 2>/dev/null; }
await() { local end=$((SECONDS + 60)); until answers "$1"; do [ $SECONDS -lt $end ] || { echo "callgrind.sh: nothing listens on $1: $(tail -3 "$work"/*.log)" >&2; exit 1; }; sleep 0.1; done; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/key" -out "$work/crt" -days 2 -subj /CN=localhost 2>/dev/null
chmod 644 "$work/key"; [ ${#as[@]} -eq 0 ] || chown postgres "$work/key"

instructions() {  # MODE TRANSACTIONS: prints what callgrind has counted
  local mode=$1 count=$2 canned port load=(--connections 8 --transactions "$2") pool_mode=transaction
  canned=$(free_port) port=$(free_port)
  case $mode in
    rows) load+=(--sql 'SELECT hundred') ;;
    tls) load+=(--tls 1) ;;
    prepared) load+=(--protocol prepared); [[ ${program[0]} = */pgbouncer ]] && pool_mode=session ;;  # 1.18 has no other way
    *) load+=(--protocol "$mode") ;;
  esac
  {
    printf '[databases]\ndb1 = host=127.0.0.1 port=%s\n[pgbouncer]\n' "$canned"
    printf '%s\n' "listen_addr = 127.0.0.1" "listen_port = $port" "unix_socket_dir =" "auth_type = trust" "auth_file = $work/users" \
      "pool_mode = $pool_mode" "server_tls_sslmode = disable" "default_pool_size = 8" "log_connections = 0" "log_disconnections = 0"
    [ "$mode" = tls ] && printf '%s\n' "client_tls_sslmode = require" "client_tls_key_file = $work/key" "client_tls_cert_file = $work/crt"
    [[ ${program[0]} = *pgvigil* ]] && printf '%s\n' "workers = 1" "io_backend = epoll"
  } >"$work/ini" || true
  echo '"app" "pool-secret"' >"$work/users"
  "$tool" server --port "$canned" 2>"$work/canned.log" & pids+=($!)
  await "$canned"
  "${as[@]}" valgrind --tool=callgrind --callgrind-out-file="$work/callgrind.$mode.$count" "${program[@]}" "$work/ini" \
    >/dev/null 2>"$work/pooler.log" & pids+=($!)
  local pooler=$!
  await "$port"
  "$tool" load --port "$port" "${load[@]}" </dev/null >"$work/load.out" || { cat "$work/load.out" "$work/pooler.log" >&2; exit 1; }
  kill -TERM "$pooler"; sleep 0.2; kill -TERM "$pooler" 2>/dev/null || true  # the second one means "at once"
  wait "$pooler" 2>/dev/null || true
  stop
  sed -n 's/^summary: *//p;s/^totals: *//p' "$work/callgrind.$mode.$count" | head -1
}

[ $# -gt 0 ] || set -- simple extended prepared rows tls
printf '| case | instructions / transaction |\n|---|---|\n'
for mode in "$@"; do
  a=$(instructions "$mode" $few) b=$(instructions "$mode" $many)
  printf '| %s | %d |\n' "$mode" $(((b - a) / (many - few)))
done
