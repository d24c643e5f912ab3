# What people and CI run. `make help` lists the targets.
#
# Tests, clippy and the demo share one profile and one set of features, so that one build serves them all.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
IMAGE ?= kubebackup:dev
FEATURES := --all-features --locked

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what the other targets need (PostgreSQL, jq, zstd, an S3 client, a C compiler, promtool, chromium); quick when it is there
	@scripts/setup.sh

.PHONY: build
build: ## Build the release program, without the demo
	$(CARGO) build --release --locked
	@! grep -q -e KUBEBACKUP_FAILPOINT -e KUBEBACKUP_CLOCK_FILE target/release/kubebackup

.PHONY: demo
demo: setup ## Back up, destroy, rebuild and certify a throw-away shop database
	$(CARGO) run $(FEATURES) -- demo

.PHONY: test
test: setup tools fmt-check lint doc unit ## Everything CI checks

.PHONY: tools
tools: ## Fetch into target/tools what tests of the manifests need (kustomize, kubernetes-validate)
	@scripts/test-tools.sh

.PHONY: unit
# Most tests wait for a server of theirs half of their time, so there are two more at once than cores.
unit: export RUST_TEST_THREADS ?= $(shell echo $$(( $$(nproc) + 2 )))
unit: ## All tests, without lint and set-up
	$(CARGO) test $(FEATURES)

# Of a run that failed, or to look for one that does.
SEEDED = $(if $(SEED),KUBEBACKUP_TEST_SEED=$(SEED)) KUBEBACKUP_TEST_TELL=1

.PHONY: model
model: setup ## The model test, longer: SEED=... (any) STEPS=... (1000)
	$(SEEDED) KUBEBACKUP_TEST_STEPS=$(or $(STEPS),1000) $(CARGO) test $(FEATURES) --test it model::whatever_else -- --nocapture

.PHONY: soak
soak: setup ## Both agents under load and random faults: MINUTES=... (60) SEED=... (any)
	$(SEEDED) KUBEBACKUP_TEST_SOAK_SECONDS=$$(( $(or $(MINUTES),60) * 60 )) $(CARGO) test $(FEATURES) --test it soak:: -- --nocapture

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: fmt-check
fmt-check: ## Fail on unformatted code
	$(CARGO) fmt --check

.PHONY: lint
lint: ## clippy, warnings are errors
	$(CARGO) clippy $(FEATURES) --all-targets -- -D warnings
	$(CARGO) clippy --locked -- -D warnings

.PHONY: doc
doc: ## Build the API documentation, warnings are errors
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps $(FEATURES)

.PHONY: deny
deny: ## Licences, duplicate versions and banned crates (installs cargo-deny)
	@command -v cargo-deny > /dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check bans licenses sources

.PHONY: advisories
advisories: ## Known vulnerabilities of the dependencies (fetches the RustSec database; no part of `test`: it changes by itself)
	@command -v cargo-deny > /dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check advisories

.PHONY: sbom
sbom: ## Write the software bill of materials (CycloneDX) of the released program to target/sbom.cdx.json
	@mkdir -p target
	@scripts/sbom.sh > target/sbom.cdx.json
	@echo target/sbom.cdx.json

.PHONY: image
image: ## Build the container image IMAGE
	docker build --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) \
	    --build-arg REVISION=$$(git rev-parse HEAD) --tag $(IMAGE) .

.PHONY: image-test
image-test: ## Build the image and run the agent in it as Kubernetes would (root, Debian or Ubuntu; no part of `test`: minutes)
	@scripts/image-test.sh

.PHONY: bench-pacing
bench-pacing: build ## pgbench alone, beside a full-speed backup and beside a polite one: MEGABYTES=1900 PAIRS=3
	@scripts/bench/pacing.sh

.PHONY: bench
bench: setup ## Measure ours against every peer and write docs/benchmarks.md (ONLY=, PEERS=, PAIRS=, SCALE=, PLACE=; an hour; no part of `test`)
	@scripts/bench/install.sh
	# With the demo's server in it, so apart from what is released.
	$(CARGO) build $(FEATURES) --release --target-dir target/bench/program
	@python3 scripts/bench

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
