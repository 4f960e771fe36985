#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time: scripts/fuzz.sh [5s]
# It runs them one after another, because the Go tool fuzzes one target at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly fuzztime=${1:-5s}

# packages prints the packages with a fuzz target. Compiling the tests of all others would
# take most of the time.
packages() {
  grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u
}

# fuzz PACKAGE TARGET fuzzes one target. The Go tool sometimes reports the end of the time as
# a failure (golang/go#72104): only such a run is repeated.
fuzz() {
  local attempt out
  for attempt in first second; do
    out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" 2>&1) && return
    [[ $attempt == first && $out == *"context deadline exceeded"* && $out != *"Failing input written"* ]] || break
  done
  printf 'FAILED\n%s\n' "$out"
  return 1
}

targets=0
for package in $(packages); do
  for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz'); do
    printf '%-60s ' "$package $target"
    began=$SECONDS
    fuzz "$package" "$target"
    printf '%3ds\n' $((SECONDS - began))
    targets=$((targets + 1))
  done
done
echo "$targets fuzz targets, $fuzztime each"
