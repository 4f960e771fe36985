#!/usr/bin/env bash
# Puts our HTTP/2 to the test of others:
#
#   - the unary gRPC cases of the Connect conformance suite, against grpcapi's server
#     and against its client; every case must pass;
#   - h2spec, against httpapi and grpcapi over TLS and without; no case may fail that
#     plain servers of net/http and grpc-go pass.
set -euo pipefail

# The cases that there are, so that none is left out unnoticed.
readonly server_cases=179 client_cases=250

cd "$(dirname "$0")/.."
tools=$(scripts/tools.sh conformance)
readonly tools
dir=$(mktemp -d)
readonly dir
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/" ./internal/conformance/server ./internal/conformance/client ./internal/conformance/h2spec

# suite MODE PROGRAM CASES
suite() {
  echo "Connect conformance suite, our $1"
  "$tools/connectconformance" --conf internal/conformance/config.yaml --mode "$1" -- "$2" >"$dir/$1.log" 2>&1 ||
    { cat "$dir/$1.log"; return 1; }
  tail -n 1 "$dir/$1.log"
  grep -qx "$3 passed, 0 failed" "$dir/$1.log" || { echo "want $3 cases passed" >&2; return 1; }
}

suite server "$dir/server" "$server_cases"
suite client "$dir/client" "$client_cases"
echo "h2spec"
"$dir/h2spec" "$tools/h2spec"
