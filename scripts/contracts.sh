#!/usr/bin/env bash
# Lints the contracts of authd, as they are published under api/, and of every example with
# the linters of their ecosystems, and generates clients from them: types for TypeScript
# from OpenAPI and Protocol Buffers, and Go packages. Clients of examples/versions, which
# serves two versions side by side from a module of its own, are compiled and call it.
#
# The programs for Node.js are installed into bin/tools/node as in
# scripts/contracts/package-lock.json: each direct and indirect dependency at one version and
# with the hash of its content. Their install scripts do not run.
#
#   scripts/contracts.sh [--lock]
#
# With --lock it writes the lock file after a change of package.json, and installs
# nothing. The file names no registry: npm's configuration determines it.
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

work=$(mktemp -d)
readonly work
servers=()
cleanup() {
  [[ ${#servers[@]} == 0 ]] || kill "${servers[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
tools=$(scripts/tools.sh contracts)
readonly tools

echo "documents of authd and every example"
CHASSI_CONTRACTS=$work/contracts go test -vet=off -count=1 -run '^TestContracts$' ./cmd/authd ./examples/... >"$work/log" || { cat "$work/log"; exit 1; }
cp -r api "$work/contracts/api"
for program in authd $(find examples -name main.go -exec dirname {} \; | xargs -n 1 basename); do
  [[ -s $work/contracts/$program/openapi.json ]] || { echo "$program has no TestContracts that writes its documents"; exit 1; }
done
mapfile -t openapi < <(find "$work/contracts" -name openapi.json | sort)
mapfile -t asyncapi < <(find "$work/contracts" -name asyncapi.json | sort)
mapfile -t protos < <(find "$work/contracts" -name '*.proto' | sort)
readonly openapi asyncapi protos

echo "OpenAPI, spectral: ${#openapi[@]} documents"
echo 'extends: ["spectral:oas"]' >"$dir/spectral.yaml"
"$dir/node_modules/.bin/spectral" lint --fail-severity=warn --ruleset "$dir/spectral.yaml" "${openapi[@]}"

echo "OpenAPI, redocly"
REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
  "$dir/node_modules/.bin/redocly" lint --max-problems=20 "${openapi[@]}" 2>"$dir/redocly.log" ||
  { cat "$dir/redocly.log"; exit 1; }

echo "AsyncAPI, its parser: ${#asyncapi[@]} documents"
cp scripts/contracts/asyncapi.mjs scripts/contracts/types.mjs "$dir"
(cd "$dir" && node asyncapi.mjs "${asyncapi[@]}")

rm -rf "$dir/generated"
echo "Protocol Buffers, protoc: ${#protos[@]} files, to Go and TypeScript"
go build -o "$work/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
for proto in "${protos[@]}"; do
  from=${proto#"$work/contracts/"}
  from=$work/contracts/${from%%/*}
  mkdir -p "$work/go${from#"$work/contracts"}" "$dir/generated${from#"$work/contracts"}"
  protoc --proto_path="$from" --descriptor_set_out=/dev/null --fatal_warnings \
    --plugin="$work/protoc-gen-go" --go_out="$work/go${from#"$work/contracts"}" \
    --plugin="$tools/protoc-gen-go-grpc" --go-grpc_out="$work/go${from#"$work/contracts"}" \
    --plugin="$dir/node_modules/.bin/protoc-gen-es" --es_out="$dir/generated${from#"$work/contracts"}" --es_opt=target=ts \
    "${proto#"$from/"}"
done

echo "TypeScript, openapi-typescript and tsc"
(cd "$dir" && node types.mjs generated "${openapi[@]}")
cp scripts/contracts/client.ts scripts/contracts/connect.ts scripts/contracts/tsconfig.json "$dir/generated"
echo '{"type": "module"}' >"$dir/generated/package.json"
"$dir/node_modules/.bin/tsc" --project "$dir/generated"

echo "a module of its own: two versions side by side, and their clients in Go and TypeScript"
mkdir -p "$work/module"
cp -r examples/versions/. "$work/module"
rm -f "$work"/module/*_test.go
mkdir -p "$work/module/client" && mv "$work/go/versions/orders" "$work/module/client/orders"
cp scripts/contracts/client.go.txt "$work/module/client/main.go"
find "$work/module" -name '*.go' -exec sed -i 's,github.com/chassi-go/chassi/examples/versions/,example.org/versions/,' {} +
sed 's,^module .*,module example.org/versions,' go.mod >"$work/module/go.mod"
cp go.sum "$work/module/go.sum"
(
  cd "$work/module"
  go mod edit -require=github.com/chassi-go/chassi@v0.0.0 -replace=github.com/chassi-go/chassi="$root"
  go build -mod=mod -o "$work/versions" .
  go build -mod=mod -o "$work/client" ./client
)
"$work/versions" -http 127.0.0.1:0 -grpc 127.0.0.1:0 2>"$work/versions.log" &
servers+=($!)
# address PROGRAM SERVER prints where it listens, which is in the log.
address() {
  local found
  for _ in {1..300}; do
    found=$(sed -n "s/.*\"server\":\"$2\",\"addr\":\"\([^\"]*\)\".*/\1/p" "$work/$1.log")
    [[ -z $found ]] || break
    sleep 0.1
  done
  echo "$found"
}
"$work/client" "$(address versions grpc)"
node "$dir/generated/out/client.js" "http://$(address versions http)"

echo "connect-es: every method of authd, over the Connect protocol"
go build -o "$work/authd" ./cmd/authd
mkdir "$work/data"
(cd "$work/data" && exec "$work/authd" serve --http.addr=127.0.0.1:0 --http.connect=true --admin.addr=127.0.0.1:0 --grpc.addr=off \
  --shutdown.drain=0s 2>"$work/authd.log") &
servers+=($!)
node "$dir/generated/out/connect.js" "http://$(address authd http)" "http://$(address versions http)"
