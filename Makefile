# The commands for working on Berth. `make` lists them.

GO       ?= go
FUZZTIME ?= 10m
TORTURE  ?= 1h
BINARY   ?= bin/berth

# What berth version says; nothing where there is no git, as in an archive, which has it in a file.
STAMP = $(shell git log -1 --format='-X main.commit=%H -X main.date=%cI' 2>/dev/null)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo build test unit hostile conformance lint fuzz torture bench microbench screenshots

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole path once: enroll, provision, send, read back
	$(GO) run ./cmd/berth demo

build: ## a static binary in bin/berth
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w $(STAMP)" -o $(BINARY) ./cmd/berth

test: lint unit hostile conformance ## everything: lint, unit, crash and wire tests, and the Azure SDKs

unit: ## what needs nothing but Go, with the race detector
	$(GO) test -race -count=1 -timeout 20m ./...
	$(GO) test -run Allocates ./wire/mqtt ./hub/... # the race detector makes pools forget

hostile: ## two minutes of make torture, without judging times
	$(GO) test -tags torture -count=1 -timeout 20m -run '^TestTorture$$' -v ./cmd/berth

conformance: ## the Azure SDKs against berth up; needs the ports 8883 and 443
	$(GO) test -count=1 -timeout 30m -tags conformance ./conformance/...

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags conformance ./conformance/...
	$(GO) vet -tags torture ./...
	$(GO) tool staticcheck ./...
	$(GO) tool staticcheck -tags conformance ./conformance/...
	$(GO) tool staticcheck -tags torture ./...

fuzz: ## every parser of network bytes, each for FUZZTIME (10m)
	@set -e; packages=$$($(GO) list ./...); for package in $$packages; do \
		listed=$$($(GO) test -list '^Fuzz' "$$package"); \
		for target in $$(echo "$$listed" | grep '^Fuzz'); do \
			echo "$$package $$target for $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel 1 "$$package"; \
		done; \
	done

torture: ## crashes, a storm of 19,300 devices, then an hour (TORTURE) of attacks while devices work, p99 below 100 ms
	$(GO) test -tags torture -count=1 -timeout 0 -run '^(TestCrash|TestModel|TestMigrationSurvivesCrashes|TestExchange)$$' -v ./cmd/berth
	BERTH_STORM=19300 $(GO) test -tags torture -count=1 -timeout 0 -run '^TestReconnectStorm$$' -v ./cmd/berth
	TORTURE=$(TORTURE) TORTURE_P99=100ms $(GO) test -tags torture -count=1 -timeout 0 -run '^TestTorture$$' -v ./cmd/berth

bench: build ## the figures of docs/benchmarks.md: berth beside mosquitto, about ten minutes
	$(GO) run ./bench -berth bin/berth -o docs/benchmarks.md

microbench: ## allocations and times of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem ./wire/... ./hub/... ./store/... ./portal

screenshots: build ## the pictures in docs/images, taken again; needs chromium, and chromium-l10n for French
	@[ -d conformance/browser/node_modules ] || npm ci --prefix conformance/browser --ignore-scripts --no-audit --no-fund --loglevel=error
	BERTH_BINARY=$(CURDIR)/bin/berth node conformance/browser/docs.js docs/images
