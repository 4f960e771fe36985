#!/usr/bin/env bash
# Generates third-party clients from the .proto file alone into internal/thirdparty: Go
# messages, grpc-go and connect. Needs protoc.
set -euo pipefail

readonly protoc_gen_go=v1.36.12 protoc_gen_go_grpc=v1.6.2 protoc_gen_connect_go=v1.21.1

cd "$(dirname "$0")/.."
export GOBIN=$PWD/bin/tools CGO_ENABLED=0
go install "google.golang.org/protobuf/cmd/protoc-gen-go@$protoc_gen_go"
go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$protoc_gen_go_grpc"
go install "connectrpc.com/connect/cmd/protoc-gen-connect-go@$protoc_gen_connect_go"
out=internal/thirdparty
package=github.com/chassi-go/chassi/$out/authv1
rm -rf "$out/authv1"
PATH=$GOBIN:$PATH protoc --proto_path=api \
  --go_out="$out" --go_opt="Mauth/v1/auth.proto=$package" --go_opt="module=github.com/chassi-go/chassi/$out" \
  --go-grpc_out="$out" --go-grpc_opt="Mauth/v1/auth.proto=$package" --go-grpc_opt="module=github.com/chassi-go/chassi/$out" \
  --connect-go_out="$out" --connect-go_opt="Mauth/v1/auth.proto=$package" --connect-go_opt="module=github.com/chassi-go/chassi/$out" \
  auth/v1/auth.proto
