# Tidegate. `make` prints the targets.

GO     ?= go
PYTHON ?= python3

# Where goroutines meet: tested with the race detector. The others are pure or
# only wait for a server, and run without it, which is several times faster.
RACE := $(addprefix ./,client/... ingest aggregator enforcer notifier \
          internal/stream internal/stripe/fold internal/stripe/refetch internal/store/kv internal/writeback)

# What the Python tests and linters look at.
PYTESTS  := python/tests examples/fastapi-mongodb-stripe deploy
PYSOURCE := python examples deploy

# "work" stands for the packages of all modules in go.work; ./... has the root's only.
PLAIN = $(shell $(GO) list work | grep -v -x -F "$$($(GO) list $(RACE))")

# The tags of the modules in folders (client/v0.3.0) are not the program's version.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git describe --exclude '*' --always --abbrev=40 --dirty=+dirty 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# The same source and Go give the same program, wherever and whenever it is built;
# deploy/Dockerfile builds with the same flags. GOFLAGS is not empty, so that what
# `go env -w` has set does not count.
GO_BUILD := CGO_ENABLED=0 GOFLAGS=-trimpath GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 $(GO) build -buildvcs=false -ldflags '$(LDFLAGS)'

LINT_VERSION := v2.15.0
LINT         := $(CURDIR)/bin/golangci-lint-$(LINT_VERSION)

# What lists the modules in a program, and what looks for known vulnerabilities.
CYCLONEDX_VERSION   := v1.10.0
CYCLONEDX           := $(CURDIR)/bin/cyclonedx-gomod-$(CYCLONEDX_VERSION)
GOVULNCHECK_VERSION := v1.9.0
GOVULNCHECK         := $(CURDIR)/bin/govulncheck-$(GOVULNCHECK_VERSION)

# Python's packages for tests are in an environment of this checkout; Debian's
# own interpreter with Debian's packages has the oldest versions that are promised.
VENV          := .venv/bin/python
DEBIAN_PYTHON := /usr/bin/python3
DEBIAN_NEEDS  := python3-fastapi python3-uvicorn python3-httpx python3-pytest python3-pymongo python3-multipart
UV            ?= uv

# Tests that are left out for want of a program say so in this file.
LEFT_OUT := $(CURDIR)/bin/left-out
export TIDEGATE_LEFT_OUT ?= $(LEFT_OUT)
CC_WORKS = $(shell echo 'int main(void){return 0;}' | $$($(GO) env CC) -include stdlib.h -x c -o /dev/null - 2>/dev/null && echo yes)
HAS_CURL = $(shell command -v curl)

FUZZTIME  ?= 10s
SPELLINGS ?= 5000

# Of `make chaos`: how many faults, how many NATS servers, where documents are
# kept (mongodb or nats), and what load and faults are drawn from.
FAULTS  ?= 200
BROKERS ?= 1
STORE   ?= mongodb
SEED    ?= $(shell date +%s)

# Of `make dist`.
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

.DEFAULT_GOAL := help
.PHONY: help build tidy test test-go test-python test-python-venv test-python-debian race lint lint-go lint-python fmt \
        fuzz spellings chaos bench bench-python lock venv venv-lint release dist sbom reproducible vulncheck clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/tidegate
	$(GO_BUILD) -o bin/tidegate ./cmd/tidegate

test: ## Run every test: Go (with the race detector where goroutines meet), README, Python
	@mkdir -p bin && rm -f $(LEFT_OUT)
	@$(MAKE) --no-print-directory test-go test-python
	@if [ -s $(LEFT_OUT) ]; then \
	  echo "All tests passed that can run here. Left out:"; sort -u $(LEFT_OUT) | sed 's/^/  /'; \
	else echo "All tests passed."; fi

test-go: ## Run the Go tests
	@[ -n "$(CC_WORKS)" ] || .ci/left-out "the race detector: apt-get install gcc libc6-dev"
	@[ -n "$(HAS_CURL)" ] || .ci/left-out "the commands of the README: apt-get install curl"
	$(GO) vet work
	$(GO) test -timeout 9m $(if $(HAS_CURL),,-skip '^TestReadmeCommands$$') $(PLAIN)
	$(GO) test -timeout 9m $(if $(CC_WORKS),-race) $(RACE)

test-python: test-python-venv test-python-debian ## Run the Python tests, also those against a real tidegate

PYTEST := -m pytest -q -p no:cacheprovider -c python/pyproject.toml

test-python-venv: build venv
	TIDEGATE_BIN="$(CURDIR)/bin/tidegate" $(VENV) $(PYTEST) $(PYTESTS) python/test_make_wheel.py

test-python-debian: build
	@if $(DEBIAN_PYTHON) -c 'import fastapi, uvicorn, httpx, pytest, pymongo, multipart' 2>/dev/null; then set -x; \
	  TIDEGATE_BIN="$(CURDIR)/bin/tidegate" $(DEBIAN_PYTHON) $(PYTEST) $(PYTESTS); \
	elif [ -e /etc/debian_version ] || [ "$$CI" = true ]; then \
	  .ci/left-out "the Python tests with Debian's packages: apt-get install $(DEBIAN_NEEDS)"; fi

venv:
	@$(PYTHON) python/make_venv.py python/requirements-test.lock

venv-lint:
	@$(PYTHON) python/make_venv.py python/requirements-test.lock python/requirements-lint.lock

race: ## Run every Go test with the race detector
	$(GO) test -timeout 30m -race work

lint: lint-go lint-python ## Run every linter and formatter check

lint-go: $(LINT) ## Run golangci-lint, gofmt's check included
	$(LINT) run $$($(GO) list -m -f '{{.Dir}}/...')

lint-python: venv-lint ## Run ruff, its formatter's check and mypy
	$(VENV) -m ruff check $(PYSOURCE)
	$(VENV) -m ruff format --check $(PYSOURCE)
	cd python && ../$(VENV) -m mypy

# install PACKAGE of a tool into its file in bin/.
install = GOBIN="$(@D)/new-$(@F)" GOWORK=off CGO_ENABLED=0 GOFLAGS=-trimpath $(GO) install $(1) && \
  mv "$(@D)/new-$(@F)"/* $@ && rmdir "$(@D)/new-$(@F)"

$(LINT):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION))

$(CYCLONEDX):
	$(call install,github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION))

$(GOVULNCHECK):
	$(call install,golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION))

tidy: ## Tidy go.mod of the root module (the others list no requirements of tests)
	$(GO) run ./internal/modules tidy

fmt: venv-lint ## Format the Go and the Python code
	gofmt -s -w $$(git ls-files '*.go')
	$(VENV) -m ruff check --select I --fix --quiet $(PYSOURCE)
	$(VENV) -m ruff format $(PYSOURCE)

fuzz: ## Run every fuzz test for FUZZTIME (10s)
	@grep -r --include='*_test.go' -o 'func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | while read -r file name; do \
	  echo "$$name in $$(dirname "$$file")"; \
	  $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
	done

spellings: build venv ## Ask routers behind nginx for SPELLINGS (5000) random addresses each, and see that none passes a gate
	SPELLINGS=$(SPELLINGS) TIDEGATE_BIN="$(CURDIR)/bin/tidegate" $(VENV) $(PYTEST) python/tests/test_spellings.py

chaos: ## Kill, freeze and cut off real processes FAULTS (200) times, and count after them (BROKERS=3, STORE=nats, SEED=n)
	$(GO) test ./internal/test/chaos -count 1 -v -run Long -timeout 60m -chaos.faults $(FAULTS) -chaos.brokers $(BROKERS) \
	  -chaos.store $(STORE) -chaos.seed $(SEED)

bench: ## Run the benchmarks that have a target and print them as a table, in some minutes (ONLY=text)
	$(GO) run ./internal/test/benchtable -only '$(ONLY)'

bench-python: build venv ## Run the Python package's benchmark
	$(VENV) python/bench.py bin/tidegate

lock: ## Lock the newest versions of Python's packages for tests and linters
	cd python && $(UV) pip compile $(LOCK) requirements-test.in -o requirements-test.lock
	cd python && $(UV) pip compile $(LOCK) -c requirements-test.lock requirements-lint.in -o requirements-lint.lock

LOCK := --quiet --upgrade --universal --python-version 3.9 --generate-hashes --custom-compile-command 'make lock'

release: ## Give every part VERSION (v0.3.0), commit and tag; pushes nothing
	@deploy/release.sh '$(VERSION)'

dist: venv $(CYCLONEDX) ## Build the programs, what is in them, and the Python package of VERSION into dist/
	rm -rf dist && mkdir dist
	@for platform in $(PLATFORMS); do os=$${platform%/*} arch=$${platform#*/}; \
	  program=dist/tidegate-$(VERSION)-$$os-$$arch; echo "$$program"; \
	  GOOS=$$os GOARCH=$$arch $(GO_BUILD) -o $$program ./cmd/tidegate && $(call sbom,$$program,$$program.cdx.json) || exit 1; done
	$(VENV) python/make_wheel.py dist
	cd dist && sha256sum * > SHA256SUMS

# sbom PROGRAM FILE: lists what is in a program. Our nested modules have its version.
sbom = $(CYCLONEDX) bin -json -noserial -notimestamp -std -version $(VERSION) -output $(2).new $(1) && \
  sed 's/(devel)/$(VERSION)/g' $(2).new > $(2) && rm $(2).new

sbom: build $(CYCLONEDX) ## List the modules in bin/tidegate in dist/, as CycloneDX JSON
	@mkdir -p dist
	$(call sbom,bin/tidegate,dist/tidegate-$(VERSION)-$$($(GO) env GOOS)-$$($(GO) env GOARCH).cdx.json)

reproducible: ## Build the program twice, with nothing in common but the source, and compare (minutes)
	$(GO) test ./deploy -count 1 -v -run '^TestReproducible' -timeout 60m -cold

vulncheck: $(GOVULNCHECK) ## Look for known vulnerabilities in what we call (asks vuln.go.dev)
	@.ci/vulncheck $(GOVULNCHECK) ./cmd/tidegate ./client/...

clean: ## Remove what was built
	rm -rf bin dist .venv
