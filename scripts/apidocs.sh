#!/usr/bin/env bash
# Fetches the API reference that package schema/apidocs embeds, at the version that
# schema/apidocs/scalar/BUNDLE records, and checks it by its hashes.
#
#   scripts/apidocs.sh                   compare what is embedded with what is published
#   scripts/apidocs.sh --update VERSION  embed another version: script, licenses and hashes
#
# Needs npm. Building and using the package do not. After an update look
# at the page: CHASSI_SCREENSHOTS=FOLDER go test -run TestDocsPage ./cmd/authd
set -euo pipefail

cd "$(dirname "$0")/.."
readonly root=$PWD bundle=$PWD/schema/apidocs/scalar
readonly package=@scalar/api-reference

recorded() { awk -v name="$1" '$1 == name { print $2 }' "$bundle/BUNDLE"; }

if [[ ${1:-} == --update ]]; then version=${2:?which version}; else version=$(recorded version); fi
readonly version
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

cd "$work"
npm pack --silent "$package@$version" >/dev/null
archive=$(echo *.tgz)
archive_hash=$(sha512sum "$archive" | cut -d ' ' -f 1)
tar -xzf "$archive"
script_hash=$(sha256sum package/dist/browser/standalone.js | cut -d ' ' -f 1)

if [[ ${1:-} == --update ]]; then
  mkdir installed
  (cd installed && npm init --yes >/dev/null && npm install --silent --ignore-scripts --no-audit --no-fund \
    "$package@$version" unist-util-find-after vue-demi) # the script contains these two of an earlier version
  node "$root/scripts/apidocs/licenses.mjs" installed/node_modules >"$bundle/LICENSE"
  gzip -9nc package/dist/browser/standalone.js >"$bundle/scalar.js.gz"
  printf '%s\n' "package $package" "version $version" "license MIT" \
    "archive_sha512 $archive_hash" "script_sha256 $script_hash" >"$bundle/BUNDLE"
fi

check() { [[ $2 == "$3" ]] || { echo "apidocs.sh: $1 has the hash $2, want $3" >&2; exit 1; }; }
check "the archive $package@$version" "$archive_hash" "$(recorded archive_sha512)"
check "dist/browser/standalone.js" "$script_hash" "$(recorded script_sha256)"
check "the embedded script" "$(gzip -dc "$bundle/scalar.js.gz" | sha256sum | cut -d ' ' -f 1)" "$script_hash"
echo "$package $version is embedded as published"
