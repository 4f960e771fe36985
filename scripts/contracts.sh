#!/usr/bin/env bash
# Lints the published contracts under api/ with the linters of their ecosystems.
# They are installed into bin/tools/node at the versions pinned here.
set -euo pipefail

readonly spectral=6.16.3 redocly=2.77.0 asyncapi=3.6.3

cd "$(dirname "$0")/.."
readonly root=$PWD dir=$PWD/bin/tools/node
readonly stamp=$dir/.$spectral-$redocly-$asyncapi

if [[ ! -e $stamp ]]; then
  mkdir -p "$dir"
  (cd "$dir" && npm install --silent --no-audit --no-fund --no-package-lock --prefix . \
    "@stoplight/spectral-cli@$spectral" "@redocly/cli@$redocly" "@asyncapi/parser@$asyncapi")
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
