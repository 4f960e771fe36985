#!/usr/bin/env bash
# Runs every fuzz target of the module for a while: scripts/fuzz.sh [5s]
# One after the other, for the Go tool fuzzes one target at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly fuzztime=${1:-5s}

# packages prints those that have a fuzz target; compiling the tests of the
# others only to learn that they have none would take most of the time.
packages() {
  grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u
}

# fuzz PACKAGE TARGET. The Go tool at times takes the end of the time for a
# failure (golang/go#72104): such a run, and no other, gets a second chance.
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
