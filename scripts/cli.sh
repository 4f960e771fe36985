#!/usr/bin/env bash
# Installs the command-line clients of the documentation into bin/tools, at the versions
# pinned here: grpcurl, nats and nats-server. Compiles them once.
set -euo pipefail

readonly grpcurl=v1.9.4 natscli=v0.3.0 nats_server=v2.15.2

cd "$(dirname "$0")/.."
readonly tools=$PWD/bin/tools

# build NAME VERSION MODULE PACKAGE: in a module of its own, because "go install"
# also requests the list of a module's versions, which not every proxy provides.
build() {
  local stamp work
  stamp=$tools/.$1-$2-$(go env GOVERSION)
  [[ -x $tools/$1 && -e $stamp ]] && return
  echo "building $1 $2 (half a minute, once)" >&2
  mkdir -p "$tools"
  rm -f "$tools/.$1-"*
  work=$(mktemp -d)
  (cd "$work" && go mod init tool && go mod edit -require="$3@$2" && CGO_ENABLED=0 GOFLAGS="$(go env GOFLAGS) -trimpath" go build -mod=mod -o "$tools/$1" "$4") >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; return 1; }
  rm -rf "$work"
  touch "$stamp"
}

build grpcurl "$grpcurl" github.com/fullstorydev/grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl
build nats "$natscli" github.com/nats-io/natscli github.com/nats-io/natscli/nats
build nats-server "$nats_server" github.com/nats-io/nats-server/v2 github.com/nats-io/nats-server/v2
