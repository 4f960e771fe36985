#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time: scripts/fuzz.sh [5s]
#
# Two run at once, with one worker each. Only the packages of the module are instrumented for
# coverage: what they import is compiled as for `make build`, and each test once for all its
# targets, which `go test -fuzz` would not do. Inputs that a target finds are kept where the Go
# tool keeps them, and one that fails is written to the package's testdata.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${1:-5s}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cache=$(go env GOCACHE)/fuzz
export fuzztime dir cache

# fuzz PACKAGE PROGRAM TARGET fuzzes one target. The end of the time is sometimes reported as a
# failure (golang/go#72104): only such a run is repeated.
fuzz() {
  local attempt out began=$SECONDS
  for attempt in first second; do
    if out=$(cd "${1#github.com/chassi-go/chassi/}" && "$2" -test.run='^$' -test.fuzz="^$3\$" -test.fuzztime="$fuzztime" \
      -test.fuzzcachedir="$cache/$1" -test.parallel=1 2>&1); then
      printf '%-60s %3ds\n' "${1#github.com/chassi-go/}: $3" $((SECONDS - began))
      return
    fi
    [[ $attempt == first && $out == *"context deadline exceeded"* && $out != *"Failing input written"* ]] || break
  done
  printf '%s: %s FAILED\n%s\n' "$1" "$3" "$out"
  return 255 # which ends xargs
}
export -f fuzz

mapfile -t packages < <(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u | xargs go list)
go test -vet=off -c -o "$dir" -gcflags='github.com/chassi-go/chassi/...=-d=libfuzzer' "${packages[@]}"
for package in "${packages[@]}"; do
  program=$dir/${package##*/}.test
  for target in $("$program" -test.list '^Fuzz' | grep '^Fuzz'); do
    echo "$package $program $target"
  done
done >"$dir/targets"
# shellcheck disable=SC2016 # the arguments are those of the inner shell
xargs -P 2 -L 1 bash -c 'fuzz "$@"' fuzz <"$dir/targets"
echo "$(wc -l <"$dir/targets") fuzz targets, $fuzztime each"
