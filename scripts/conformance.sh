#!/usr/bin/env bash
# Runs conformance suites against the HTTP/2 servers and clients:
#
#   - the gRPC cases of the Connect conformance suite for unary calls and streams of servers,
#     against grpcapi's server and against its client, and its unary Connect cases against
#     httpapi's server over HTTP/1.1 and HTTP/2; every case must pass;
#   - h2spec, against httpapi and grpcapi over TLS and without; no case may fail that
#     plain servers of net/http and grpc-go pass.
set -euo pipefail

# The expected cases, so that a missing one is noticed.
readonly server_cases=360 client_cases=426 connect_cases=360

cd "$(dirname "$0")/.."
tools=$(scripts/tools.sh conformance)
readonly tools
dir=$(mktemp -d)
readonly dir
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/" ./internal/conformance/server ./internal/conformance/client ./internal/conformance/h2spec

# suite CONFIG MODE PROGRAM CASES
suite() {
  local config=$1 tries=1
  shift
  echo "Connect conformance suite, $config, our $1"
  until "$tools/connectconformance" --conf "internal/conformance/$config.yaml" --mode "$1" -- "$2" >"$dir/$1.log" 2>&1; do
    cat "$dir/$1.log"
    { only_timeouts "$dir/$1.log" && ((tries++ < 3)); } || return 1
    echo "once more: the suite's client may have ended the call while the error was on its way"
  done
  tail -n 1 "$dir/$1.log"
  grep -qx "$3 passed, 0 failed" "$dir/$1.log" || { echo "want $3 cases passed" >&2; return 1; }
}

# only_timeouts LOG is true if the only cases that failed are timeouts over HTTP/2, which the suite's
# client has too, at the same time as the server, and which may end its reading of the error.
only_timeouts() {
  grep -q '^FAILED: Timeouts/HTTPVersion:2/' "$1" && ! grep '^FAILED: ' "$1" | grep -qv '^FAILED: Timeouts/HTTPVersion:2/'
}

suite config server "$dir/server" "$server_cases"
suite config client "$dir/client" "$client_cases"
suite connect server "$dir/server" "$connect_cases"
echo "h2spec"
"$dir/h2spec" "$tools/h2spec"
