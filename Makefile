# `make build`, `make run` and `make test` need only Go and git.

GO       ?= go
TAGS     := grpcnotrace
FUZZTIME ?= 5s
# COVERPROFILE=coverage.out makes `make test` write a profile too.
COVERPROFILE ?=
# Arguments of `make run`, `make timing` and `make rolling`: make run ARGS="--log.level=debug"
ARGS     ?=
# What `make mutants` changes: make mutants PACKAGES=./client ARGS="-n 0"
PACKAGES ?= ./ratelimit ./client ./validation ./middleware ./overload ./schema/... ./transport/httpapi ./auth/service

# The race detector needs cgo, which Go switches off where there is no C compiler. It leaves out
# SQLite, which was translated from C, and the hash of passwords, which takes a fifth of the time
# without it: their memory belongs to one goroutine at a time.
NO_RACE  := modernc.org/sqlite/lib modernc.org/libc golang.org/x/crypto/argon2 golang.org/x/crypto/blake2b
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race $(NO_RACE:%=-gcflags=%=-race=false))

# All but the tests compile with the flags of `make build`: what is compiled once serves all.
AS_BUILD := CGO_ENABLED=0 GOFLAGS="$(strip $(shell $(GO) env GOFLAGS) -trimpath -tags=$(TAGS))"

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.PHONY: run
run: build ## Start the auth service on 127.0.0.1:8080, with a SQLite file here
	bin/authd serve $(ARGS)

.PHONY: build
build: ## Build bin/authd, one static binary, with the licenses beside it
	$(AS_BUILD) $(GO) build -ldflags "-s -w" -o bin/authd ./cmd/authd
	cp LICENSE cmd/authd/THIRD_PARTY_NOTICES.txt bin/

.PHONY: packages
packages: ## Compile all packages
	$(AS_BUILD) $(GO) build ./...

.PHONY: notices
notices: ## Write the license notices of the modules linked into authd
	$(GO) run ./internal/notices ./cmd/authd

.PHONY: reproduce
reproduce: ## Build bin/authd of the last commit twice, and compare
	scripts/reproduce.sh

# One package at once for each two processors, because many tests start several programs, and four
# tests of it, because most wait. `make lint` vets. Without GORACE each program waits a second at its end.
.PHONY: test
test: export GORACE := atexit_sleep_ms=0 $(GORACE)
test: ## Run all tests, with the race detector if there is a C compiler
	@$(if $(RACE),,echo "no C compiler found: testing without -race")
	$(GO) test $(RACE) -vet=off -timeout 20m -p $$((($$(getconf _NPROCESSORS_ONLN) + 1) / 2)) -parallel 4 $(if $(COVERPROFILE),-coverprofile=$(COVERPROFILE)) ./...
	cd internal/ormtest && $(GO) test ./... # a module of its own

.PHONY: cover
cover: ## Run all tests and write their coverage to coverage.html
	@$(MAKE) --no-print-directory test COVERPROFILE=coverage.out
	$(GO) tool cover -html=coverage.out -o coverage.html
	$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: bench
bench: ## Compare with hand-written net/http, and write docs/performance.md
	scripts/bench.sh

.PHONY: load
load: build ## Load bin/authd at fixed rates over every transport, and with k6 if it is installed
	load/run.sh

.PHONY: timing
timing: ## Measure whether the time of a login or sign-up reveals anything about an account
	$(GO) run ./load/timing $(ARGS)

.PHONY: reliability
reliability: ## Measure faults, overload, retries, breakers and limits, and write docs/reliability.md
	scripts/reliability.sh

.PHONY: rolling
rolling: build ## Measure whether calls fail during rolling restarts: half an hour, needs PostgreSQL
	$(GO) run ./load/rolling $(ARGS)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (5s)
	$(AS_BUILD) scripts/fuzz.sh $(FUZZTIME)

.PHONY: mutants
mutants: ## Run mutation tests of PACKAGES
	nice -n 15 $(GO) run ./internal/mutants $(ARGS) $(PACKAGES)

.PHONY: lint
lint: ## Check formatting, golangci-lint, of which vet is a part, and go.mod
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	tools=$$(scripts/tools.sh) && $(AS_BUILD) "$$tools"/golangci-lint run
	$(GO) mod tidy -diff

.PHONY: contracts
contracts: ## Lint the contracts of authd and all examples, and test clients generated from them (needs npm, protoc)
	$(AS_BUILD) scripts/contracts.sh

.PHONY: differential
differential: ## Compare 100,000 random types with the schemas and the official Protocol Buffers
	$(GO) test -timeout 2h -run RandomTypes -v ./schema -types 100000
	$(GO) test -timeout 2h -run OfficialRuntimeAgreesOnTypes -v ./schema/protobuf -types 100000

.PHONY: conformance
conformance: ## Run the Connect conformance suite over gRPC and Connect, and h2spec over all HTTP/2
	$(AS_BUILD) scripts/conformance.sh

.PHONY: soak
soak: ## Run the long forms of the tests that kill processes and brokers, and of idle streams
	CHASSI_SOAK=1 $(GO) test $(RACE) -timeout 20m -v -run 'KillNine|BrokerKilled' ./cmd/authd ./transport/natsapi ./transport/amqpapi
	CHASSI_SOAK=1 $(GO) test $(RACE) -timeout 20m -v -run 'Conformance/StreamIdle' ./transport/httpapi ./transport/grpcapi ./transport/natsapi ./transport/localapi

.PHONY: doctest
doctest: build ## Run the commands of the documentation against bin/authd
	scripts/cli.sh
	PATH="$(CURDIR)/bin/tools:$$PATH" $(AS_BUILD) $(GO) run ./internal/doctest $(wildcard README.md README.pt-BR.md CONTRIBUTING.md docs/*.md docs/guide/*.md)

.PHONY: services
services: ## Start the servers of the integration tests
	scripts/services.sh

.PHONY: ci
ci: ## Run all checks of continuous integration
	.ci/run

.PHONY: clean
clean: ## Remove build results
	rm -rf bin coverage.out coverage.html
