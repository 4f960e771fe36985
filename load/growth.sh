#!/usr/bin/env bash
# Measures login and validate-token with few and with many accounts, on SQLite and
# on PostgreSQL, in interleaved rounds of one run, and prints by how much they are
# slower with many. Five minutes. Needs jq; without a PostgreSQL and psql, SQLite alone.
#
#   FEW=1000 MANY=1000000      accounts
#   ROUNDS=5 SECONDS_EACH=4    of each measurement
#   LOGIN_RATE=10 VALIDATE_RATE=200  per second
#   CHASSI_TEST_POSTGRES       of a server on which databases can be made
#
# Exits 1 if the median of the rounds' ratios of p50 is above 1.2.
set -euo pipefail
# shellcheck source=load/lib.sh
source "$(dirname "$0")/lib.sh"

few=${FEW:-1000} many=${MANY:-1000000}
rounds=${ROUNDS:-5} seconds_each=${SECONDS_EACH:-4}
declare -A rate=([login]=${LOGIN_RATE:-10} [validate]=${VALIDATE_RATE:-200})
server=${CHASSI_TEST_POSTGRES:-postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable}

# database ENGINE SIZE: makes one, and prints its URL.
database() {
  local name="chassi_growth_$$_$2"
  if [[ $1 == sqlite ]]; then
    echo "sqlite:$work/$name.db"
    return
  fi
  psql "$server" -XAtqc "CREATE DATABASE $name" >&2
  sed -E "s|^([a-z]+://[^/]*/)[^?]*|\1$name|" <<<"$server"
}

# prepare ENGINE: an authd with few accounts, and one with many.
prepare() {
  local size url
  for size in "$few" "$many"; do
    [[ $1 == sqlite ]] || at_end+=("psql '$server' -XAtqc 'DROP DATABASE IF EXISTS chassi_growth_$$_$size WITH (FORCE)'")
    url=$(database "$1" "$size")
    echo "$1: $("$work/seed" --database "$url" --users "$size" 2>&1 | tail -n 1)"
    [[ $1 == sqlite ]] || psql "$url" -XAtqc 'VACUUM ANALYZE' -c CHECKPOINT
    start "$1-$size" "--database.url=$url"
  done
}

# measure ENGINE SIZE SCENARIO ROUND: appends "engine scenario size round p50 p90 p99".
measure() {
  local tokens=1
  [[ $3 == login ]] || tokens=100
  "$work/load" --target "http://$(address "$1-$2" http)" --scenario "$3" --rate "${rate[$3]}" --duration "${seconds_each}s" --warmup 500ms --arrivals even \
    --users "$2" --tokens "$tokens" --seed "$4" --json |
    jq -r '.phases[0].streams[0] | if .failed + .dropped + .refused > 0 then error("calls failed: \(.)") else [.accepted.p50_ns, .accepted.p90_ns, .accepted.p99_ns] | @tsv end' |
    sed "s/^/$1 $3 $2 $4 /" >>"$work/rows"
}

median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

# column ENGINE SCENARIO SIZE FIELD: one figure of each round, in ms.
column() { awk -v e="$1" -v s="$2" -v n="$3" -v f="$4" '$1 == e && $2 == s && $3 == n {print $f / 1e6}' "$work/rows"; }

table() {
  local engine scenario field ratio over=0
  printf '\n%-9s %-9s %-4s %14s %14s %6s   %s\n' engine call '' "$few, ms" "$many, ms" ratio 'ratio of each round'
  for engine in "$@"; do
    for scenario in login validate; do
      for field in 5:p50 6:p90 7:p99; do
        paste <(column "$engine" "$scenario" "$many" "${field%:*}") <(column "$engine" "$scenario" "$few" "${field%:*}") |
          awk '{printf "%.2f\n", $1 / $2}' >"$work/ratios"
        ratio=$(median <"$work/ratios")
        printf '%-9s %-9s %-4s %14.2f %14.2f %6.2f   %s\n' "$engine" "$scenario" "${field#*:}" \
          "$(column "$engine" "$scenario" "$few" "${field%:*}" | median)" "$(column "$engine" "$scenario" "$many" "${field%:*}" | median)" "$ratio" "$(tr '\n' ' ' <"$work/ratios")"
        [[ $field != 5:* ]] || awk -v r="$ratio" 'BEGIN {exit !(r > 1.2)}' && over=1
      done
    done
  done
  printf '\nmedians of %d rounds; target: p50 at most 1.2 times as long\n' "$rounds"
  return "$over"
}

command -v jq >/dev/null || { echo "growth.sh needs jq" >&2; exit 2; }
programs
engines=(sqlite)
if command -v psql >/dev/null && PGCONNECT_TIMEOUT=3 psql "$server" -XAtqc 'SELECT 1' >/dev/null 2>&1; then
  engines+=(postgres)
else
  echo "no PostgreSQL at CHASSI_TEST_POSTGRES, or no psql: SQLite alone" >&2
fi
for engine in "${engines[@]}"; do prepare "$engine"; done
for ((round = 1; round <= rounds; round++)); do
  sizes=("$few" "$many")
  ((round % 2 == 1)) || sizes=("$many" "$few")
  for engine in "${engines[@]}"; do
    for scenario in login validate; do
      for size in "${sizes[@]}"; do measure "$engine" "$size" "$scenario" "$round"; done
    done
  done
  echo "round $round of $rounds"
done
table "${engines[@]}"
