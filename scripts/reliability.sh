#!/usr/bin/env bash
# Measures the figures of docs/reliability.md and writes them there: a matrix of the
# dependencies of authd and their failures; overload, retry storms, breakers, limiters, and
# validation during a high rate of logins. Needs the servers of the tests (make services), and
# root for the cells of the matrix that mount a disk. Takes about five minutes each for the
# matrix and the figures on an idle machine. Exits with 1 if an expectation of the matrix does
# not hold, which is printed to stderr.
#
#   SECONDS_EACH=60 make reliability
#   PARTS=matrix make reliability
set -euo pipefail
cd "$(dirname "$0")/.."
. load/lib.sh # sets work, cleans up
each=${SECONDS_EACH:-60}
parts=${PARTS:-matrix figures}
failed=0

# fill NAME writes standard input between <!-- NAME --> and <!-- /NAME --> of the page.
fill() {
  cat >"$work/part"
  awk -v name="$1" -v part="$work/part" '
    $0 == "<!-- " name " -->"  { print; while ((getline line < part) > 0) print line; print ""; skip = 1; next }
    $0 == "<!-- /" name " -->" { skip = 0 }
    !skip                      { print }
  ' docs/reliability.md >"$work/page"
  cp "$work/page" docs/reliability.md
}

if [[ $parts == *matrix* ]]; then
  go run ./load/faults >"$work/matrix" || failed=$?
  if [[ $failed -gt 1 ]]; then exit "$failed"; fi # nothing was measured
  (echo; cat "$work/matrix") | fill matrix
  cat "$work/matrix"
fi
if [[ $parts != *figures* ]]; then exit "$failed"; fi

# section TITLE COMMAND... prints the command and its output as a block.
section() {
  local title=$1
  shift
  printf '\n**%s** (`%s`)\n\n```\n' "$title" "$1"
  shift
  "$@"
  printf '```\n'
}

# told FILTER PACKAGE... prints the logs of tests.
told() {
  local run=$1
  shift
  go test -count=1 -v -run "$run" "$@" | sed -nE 's/^ +[a-z_]+_test\.go:[0-9]+: //p'
}

# figures FILTER PACKAGE prints the results of a benchmark.
figures() {
  go test -run XXX -bench "$1" -benchmem "$2" | awk '/^Benchmark/ {printf "%-28s %8.0f ns %4d allocations\n", $1, $3, $7}'
}

cost() {
  figures BenchmarkCluster ./client
  figures BenchmarkDo ./breaker
  figures BenchmarkAcquireRelease ./overload
}

flood() {
  programs
  "$work/seed" --database "sqlite:$work/flood.db" --users 1000 >/dev/null 2>&1
  start flood --database.url="sqlite:$work/flood.db"
  local target
  target=http://$(address flood http)
  # The driver would affect the results: run it on another machine.
  local first=()
  [[ $(id -u) != 0 ]] || first=(nice -n -15)
  "${first[@]}" "$work/load" --target "$target" --rate 200 --duration 10s | tail -n +2
  echo
  "${first[@]}" "$work/load" --target "$target" --scenario flood --rate 200 --login-rate 150 --duration 20s | tail -n +2
}

{
  printf 'Go %s, %s cores. ' "$(go env GOVERSION | sed 's/go//')" "$(nproc)"
  printf 'Simulated ones run in synthetic time (testing/synctest) and come out the same on any machine.\n'
  section "Overload over HTTP" "go run ./load/overload --seconds $each" go run ./load/overload --seconds "$each"
  section "Overload, simulated: other sizes" "go test -v -run Fault28 ./overload" told Fault28 ./overload
  section "Retry storm, simulated: three services in a row, the last one failing" "go test -v -run Fault30 ./client" told Fault30 ./client
  section "Breakers, simulated" "go test -v -run Fault31 ./breaker ./client" told Fault31 ./breaker ./client
  section "Limiter under 2,000,000 hostile keys" "go test -v -run Flood ./ratelimit" told Flood ./ratelimit
  section "One limit on two nodes" "go test -v -run TwoNodes ./ratelimit/shared" told TwoNodes ./ratelimit/shared
  section "What it costs" "go test -bench ... ./client ./breaker ./overload" cost
  section "Validation beside a flood of logins: 150 a second where about 50 can be hashed" "go run ./load --scenario flood" flood
} | tee "$work/measured"
fill measured <"$work/measured"
exit "$failed"
