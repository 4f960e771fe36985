#!/usr/bin/env bash
# Builds bin/authd of the last commit twice, from clones in two directories, the second
# time with an empty build cache, and fails if the binaries differ.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

# build FOLDER [GOCACHE] prints the hash of the binary.
build() {
  git clone --quiet . "$work/$1"
  GOCACHE=${2:-$(go env GOCACHE)} make --silent -C "$work/$1" build >&2
  sha256sum "$work/$1/bin/authd" | cut -d ' ' -f 1
}

first=$(build a)
second=$(build folder/of/another/name "$work/cache")
echo "$first  $(git rev-parse HEAD), $(go version)"
if [[ $first != "$second" ]]; then
  echo "$second  the same, built again" >&2
  echo "the build is not reproducible: compare \"go version -m\" of both" >&2
  exit 1
fi
