# Tidegate. `make` prints the targets.

GO     ?= go
# Debian's own interpreter has FastAPI; the first python3 on the PATH may not.
PYTHON ?= /usr/bin/python3

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

LINT_VERSION := v2.15.0
LINT         := bin/golangci-lint-$(LINT_VERSION)

FUZZTIME ?= 10s

# Of `make chaos`: how many faults, how many NATS servers, where documents are kept (mongodb or nats), and what load and faults are drawn from.
FAULTS  ?= 200
BROKERS ?= 1
STORE   ?= mongodb
SEED    ?= $(shell date +%s)

# Where goroutines meet: tested with the race detector. The others are pure or
# only wait for a server, and run without it, which is several times faster.
RACE  := $(addprefix ./,client/... ingest aggregator enforcer notifier internal/stream internal/stripe/fold internal/stripe/refetch internal/store/kv internal/writeback)
# "work" stands for the packages of all modules in go.work; ./... has the root's only.
PLAIN  = $(shell $(GO) list work | grep -v -x -F "$$($(GO) list $(RACE))")

.DEFAULT_GOAL := help
.PHONY: help build tidy test test-go test-python race lint fuzz chaos bench bench-python fmt clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/tidegate
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/tidegate ./cmd/tidegate

test: test-go test-python ## Run every test: Go (with the race detector where goroutines meet), README, Python
	@echo "All tests passed."

test-go: ## Run the Go tests
	$(GO) vet work
	$(GO) test -timeout 9m $(PLAIN)
	$(GO) test -timeout 9m -race $(RACE)

test-python: build ## Run the Python tests, also those against a real tidegate
	@$(PYTHON) -c 'import fastapi, uvicorn, httpx, pytest, pymongo, multipart' || { \
	  echo "$(PYTHON) lacks what the tests need: apt-get install python3-fastapi python3-uvicorn python3-httpx python3-pytest python3-pymongo python3-multipart"; exit 1; }
	@[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || { echo "the tests of deploy/gateways need nginx: apt-get install nginx"; exit 1; }
	TIDEGATE_BIN="$(CURDIR)/bin/tidegate" $(PYTHON) -m pytest -q -p no:cacheprovider -c python/pyproject.toml python/tests examples/fastapi-mongodb-stripe

race: ## Run every Go test with the race detector
	$(GO) test -timeout 30m -race work

lint: $(LINT) ## Run golangci-lint
	$(LINT) run $$($(GO) list -m -f '{{.Dir}}/...')

$(LINT):
	GOBIN="$(CURDIR)/bin/lint" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/lint/golangci-lint $@ && rmdir bin/lint

fuzz: ## Run every fuzz test for FUZZTIME (10s)
	@grep -r --include='*_test.go' -o 'func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | while read -r file name; do \
	  echo "$$name in $$(dirname "$$file")"; \
	  $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
	done

chaos: ## Kill, freeze and cut off real processes FAULTS (200) times, and count after them (BROKERS=3, STORE=nats, SEED=n)
	$(GO) test ./internal/test/chaos -count 1 -v -run Long -timeout 60m -chaos.faults $(FAULTS) -chaos.brokers $(BROKERS) -chaos.store $(STORE) -chaos.seed $(SEED)

bench: ## Run the benchmarks that have a target and print them as a table, in some minutes (ONLY=text)
	$(GO) run ./internal/test/benchtable -only '$(ONLY)'

bench-python: build ## Run the Python package's benchmark
	$(PYTHON) python/bench.py bin/tidegate

tidy: ## Tidy go.mod of the root module (the others list no requirements of tests)
	$(GO) run ./internal/modules tidy

fmt: ## Format the Go code
	gofmt -s -w $$(git ls-files '*.go')

clean: ## Remove what was built
	rm -rf bin
