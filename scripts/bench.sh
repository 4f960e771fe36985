#!/usr/bin/env bash
# In-process benchmarks of the chassis beside a hand-written handler, and, where
# wrk is installed, both over loopback in one run. Bounded: about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."

go test -run XXX -bench . -benchmem ./bench/...

if ! command -v wrk >/dev/null; then
  echo "wrk is not installed (Debian package wrk): loopback not measured"
  exit 0
fi

work=$(mktemp -d)
pid=""
stop() { [[ -z $pid ]] || { kill "$pid" && wait "$pid" || true; pid=""; } 2>/dev/null; }
trap 'stop; rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o "$work/server" ./bench/server

# measure NAME FEATURES: requests per second of one flavour
measure() {
  ADDR=127.0.0.1:18080 KEY=0123456789abcdef0123456789abcdef FEATURES=$2 LOG=$work/log \
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 "$work/server" >"$work/out" 2>&1 &
  pid=$!
  for _ in $(seq 50); do
    curl -so /dev/null http://127.0.0.1:18080/ping && break
    sleep 0.1
  done
  printf '%-22s %s requests/s\n' "$1" "$(wrk -t1 -c64 -d5s http://127.0.0.1:18080/ping | awk '/Requests\/sec/ {print $2}')"
  stop
}

for round in 1 2; do
  measure "hand-written" handwritten
  measure "chassi, bare" bare
  measure "chassi, all on" full
done
