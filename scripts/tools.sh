#!/usr/bin/env bash
# Installs the tools of `make lint` into bin/tools, at the versions pinned here, and prints
# their directory. Compiles a tool only if it is missing, or if its version or Go has changed.
#
#   scripts/tools.sh [k6 | conformance | contracts]
#
# With k6 it also builds k6, which is large and needed by load/k6 only. With conformance it
# builds the tools of `make conformance`, with contracts those of `make contracts`.
set -euo pipefail

readonly golangci_lint=v2.15.0 k6=v1.8.1
# Release 2.6.0 of h2spec has a go.mod without its major version, so that it has to be
# named by its commit.
readonly protoc_gen_go_grpc=v1.6.2
readonly connectconformance=v1.0.5 h2spec=v0.0.0-20200804131034-70ac22940108

cd "$(dirname "$0")/.."
readonly tools=$PWD/bin/tools

# install NAME VERSION PACKAGE
install() {
  local stamp
  stamp=$tools/.$1-$2-$(go env GOVERSION)
  [[ -x $tools/$1 && -e $stamp ]] && return
  echo "installing $1 $2 (a minute or two, once)" >&2
  mkdir -p "$tools"
  rm -f "$tools/.$1-"*
  GOBIN=$tools CGO_ENABLED=0 GOFLAGS="$(go env GOFLAGS) -trimpath" go install "$3@$2" >&2
  touch "$stamp"
}

# `make contracts` needs no linter for Go.
[[ ${1:-} == contracts ]] || install golangci-lint "$golangci_lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint
case ${1:-} in
  "") ;;
  k6) install k6 "$k6" go.k6.io/k6 ;;
  conformance)
    install connectconformance "$connectconformance" connectrpc.com/conformance/cmd/connectconformance
    install h2spec "$h2spec" github.com/summerwind/h2spec/cmd/h2spec
    ;;
  contracts) install protoc-gen-go-grpc "$protoc_gen_go_grpc" google.golang.org/grpc/cmd/protoc-gen-go-grpc ;;
  *) echo "tools.sh: $1 is no tool on demand: k6, conformance and contracts are" >&2; exit 2 ;;
esac
echo "$tools"
