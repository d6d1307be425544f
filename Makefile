# `make` alone lists the targets. What they do is in scripts/, so that it can be read and checked as a script.

.DEFAULT_GOAL := help
.PHONY: help demo demo-reset test test-timescaledb-apache format lint check bench bench-analysis fuzz deny

# Seconds a fuzz target runs: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
FUZZ_TARGET ?= ingest_body

# Sizes of the synthetic sites: make bench-analysis EVENTS=50000000
EVENTS ?= 1000000,9000000

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-24s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: ## Install what is missing, build, and run the demo on 127.0.0.1:8030 until Ctrl-C
	@exec scripts/demo.sh

demo-reset: ## Stop the demo and delete its data
	@exec scripts/demo-reset.sh

test: ## Format, lints, and every test against real PostgreSQL, Redis, TimescaleDB and Chromium
	@exec scripts/test.sh

test-timescaledb-apache: ## The store's tests on TimescaleDB's Apache edition (needs root; skipped where it cannot be had)
	@exec scripts/test-timescaledb-apache.sh

format: ## Format the code
	@cargo fmt --all

lint: ## Clippy, warnings are errors
	@cargo clippy --locked --all-targets -- --deny warnings

check: ## Compile everything without running it
	@cargo check --locked --all-targets

bench: ## Measure ingest and reads on this machine
	@exec scripts/bench.sh

bench-analysis: ## Measure the analyses beside ClickHouse and DuckDB, and starts of the index: EVENTS=1000000,9000000
	@exec scripts/bench-analysis.sh --events $(EVENTS)

# Without the address sanitizer, which finds little in safe Rust and makes everything slower. What a run learns goes to
# state/fuzz; the committed seeds stay as they are, and `make test` runs them, too.
fuzz: ## Throw random bodies at the ingest parser for FUZZ_SECONDS (nightly Rust and cargo-fuzz)
	@cargo +nightly --version >/dev/null 2>&1 || { echo "Nightly Rust is missing: rustup toolchain install nightly"; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz"; exit 1; }
	@mkdir -p state/fuzz/$(FUZZ_TARGET)
	@cargo +nightly fuzz run --sanitizer none $(FUZZ_TARGET) state/fuzz/$(FUZZ_TARGET) fuzz/corpus/$(FUZZ_TARGET) -- \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -dict=fuzz/$(FUZZ_TARGET).dict

deny: ## Check licences and advisories of all crates (cargo-deny, needs the network)
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	@cargo deny --locked check
