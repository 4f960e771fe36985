#!/usr/bin/env bash
# Lints the published contracts under api/ with the linters of their ecosystems.
# They are installed into bin/tools/node as scripts/contracts/package-lock.json
# says: each package, those that others need included, at one version and with the
# hash of its content. Their install scripts do not run.
#
#   scripts/contracts.sh [--lock]
#
# With --lock it writes the lock file after a change of package.json, and installs
# nothing. The file names no registry: npm's own setting says which one to use.
set -euo pipefail

cd "$(dirname "$0")/.."
readonly root=$PWD dir=$PWD/bin/tools/node locked=$PWD/scripts/contracts

if [[ ${1:-} == --lock ]]; then
  cd "$locked"
  exec npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
fi

stamp=$dir/.$(cksum <"$locked/package-lock.json" | tr ' ' -)
readonly stamp
if [[ ! -e $stamp ]]; then
  mkdir -p "$dir"
  rm -f "$dir"/.[0-9]*
  cp "$locked/package.json" "$locked/package-lock.json" "$dir"
  (cd "$dir" && npm ci --silent --ignore-scripts --no-audit --no-fund)
  touch "$stamp"
fi

echo "OpenAPI, spectral"
echo 'extends: ["spectral:oas"]' >"$dir/spectral.yaml"
"$dir/node_modules/.bin/spectral" lint --fail-severity=warn --ruleset "$dir/spectral.yaml" api/openapi.json

echo "OpenAPI, redocly"
REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
  "$dir/node_modules/.bin/redocly" lint --max-problems=20 api/openapi.json 2>"$dir/redocly.log" ||
  { cat "$dir/redocly.log"; exit 1; }

echo "AsyncAPI, its parser"
cat >"$dir/asyncapi.mjs" <<'JS'
import { Parser } from '@asyncapi/parser';
import { readFileSync } from 'node:fs';
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'));
for (const d of diagnostics) console.log(['error', 'warning', 'info', 'hint'][d.severity], d.code, d.message, d.path.join('.'));
process.exit(document && diagnostics.every((d) => d.severity > 0) ? 0 : 1);
JS
(cd "$dir" && node asyncapi.mjs "$root/api/asyncapi.json")

echo "Protocol Buffers, protoc"
protoc --proto_path=api --descriptor_set_out=/dev/null --fatal_warnings auth/v1/auth.proto
