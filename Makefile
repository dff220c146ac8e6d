# One command checks everything: make test. It needs Go, gcc (for the race
# detector) and the Go module proxy; no root, no Docker, nothing installed by hand.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .
# A test binary that hangs is ended after this, with the stacks of its goroutines.
TIMEOUT  ?= 15m
# Modules that users import add to everybody's build: the main module may require
# so many directly. Raise the number in the change that needs it, with the reason.
MAX_DIRECT_DEPS := 18

# Modules beside the main one that hold packages of ours.
NESTED := $(patsubst %/go.mod,%,$(wildcard benchmarks/go.mod mesh/export/go.mod examples/observability/go.mod))
STATICCHECK := bin/staticcheck
# Packages of the main module with counts that only hold without the race detector.
COUNTED := $(patsubst %/norace_test.go,%,$(shell find . -name norace_test.go))

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: lint consul ## Everything that must pass: lint, allocation counts, all tests with -race.
	@echo '== test: allocation counts, without the race detector'
	$(GO) test -run Alloc -shuffle=on -timeout $(TIMEOUT) $(COUNTED)
	@echo '== test: every package, race detector on, random order'
	$(GO) test -race -shuffle=on -timeout $(TIMEOUT) ./...
	@for m in $(NESTED); do echo "== test: $$m"; (cd $$m && $(GO) test -race -shuffle=on -timeout $(TIMEOUT) ./...); done

.PHONY: build
build: ## Build and link every program; test compiles them all and links those it runs.
	@echo '== build'
	$(GO) build ./...
	@for m in $(NESTED); do echo "== build: $$m"; (cd $$m && $(GO) build -o /dev/null ./...); done

.PHONY: consul
consul: ## Build the Consul that tests and one example run, once; minutes the first time.
	@echo '== consul: the real one that tests run, built from its Go module and cached'
	@$(GO) run ./internal/consultest/consulpath

.PHONY: lint
lint: deps $(STATICCHECK) ## gofmt, go vet, staticcheck, count of dependencies.
	@echo '== lint: gofmt, go vet, staticcheck'
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted; run gofmt -w on:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@for m in $(NESTED); do echo "== lint: $$m"; (cd $$m && $(GO) vet ./... && $(CURDIR)/$(STATICCHECK) ./...); done

$(STATICCHECK): internal/tools/go.mod internal/tools/go.sum
	@echo '== tools: build the staticcheck that internal/tools/go.mod pins'
	cd internal/tools && $(GO) build -o $(CURDIR)/$@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

.PHONY: deps
deps: ## Compare the number of direct dependencies with its bound.
	@direct=$$($(GO) list -mod=readonly -m -f '{{if not (or .Main .Indirect)}}{{.Path}}{{end}}' all | sed '/^$$/d'); \
	n=$$(echo -n "$$direct" | grep -c ^ || true); \
	echo "== deps: $$n direct dependencies, at most $(MAX_DIRECT_DEPS)"; \
	if [ "$$n" -gt $(MAX_DIRECT_DEPS) ]; then \
		echo "$$direct"; echo 'more than MAX_DIRECT_DEPS in the Makefile allows: drop one, or raise it and say why'; exit 1; \
	fi

.PHONY: tidy-check
tidy-check: ## Fail if go.mod or go.sum is not tidy in a module.
	@for m in . $(NESTED) internal/tools; do echo "== tidy: $$m"; (cd $$m && $(GO) mod tidy -diff); done

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s).
	@grep -rlE --include='*_test.go' '^func Fuzz' . | sort | while read -r f; do \
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$$f"); do \
			echo "== fuzz: $$name in $$(dirname "$$f"), $(FUZZTIME)"; \
			(cd "$$(dirname "$$f")" && $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) .) </dev/null; \
		done; \
	done

.PHONY: bench
bench: ## Run the micro-benchmarks that match BENCH (all).
	cd benchmarks && $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# Certificates, tokens, dates in rules and files on disk are of the wall clock by nature.
.PHONY: wallclock
wallclock: consul ## Test what measures time with a wall clock that jumps by hours; some minutes the first time.
	$(GO) run ./internal/walljump -shuffle=on ./resilience ./balancer/... ./resolver/...

.PHONY: drills
drills: consul ## Break a small mesh for real, and hold it to its promises; 3 minutes.
	cd benchmarks && $(GO) run ./drills

.PHONY: peers
peers: $(STATICCHECK) ## Vet and build the peers that benchmarks compare with; minutes the first time.
	cd benchmarks/peers && $(GO) vet ./... && $(CURDIR)/$(STATICCHECK) ./... && $(GO) build -o /dev/null ./...

.PHONY: cover
cover: ## Print test coverage by package, and write bin/cover.html.
	@mkdir -p bin
	$(GO) test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -func=bin/cover.out | tail -1
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html

.PHONY: clean
clean: ## Remove what the targets built here; caches stay.
	rm -rf bin
