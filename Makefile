# Every target installs what it needs by itself and is quick when that is there already.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: test-s3 test-cgroup2 test-machine check-aarch64 bench-neighbours help install demo test test-slow test-systemd soak test-mac check format bench bench-hosts bench-spawn bench-unit bench-audit fuzz clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Build both programs and the Python package into .venv
	@scripts/install

demo: install ## Start the example on loopback, send real requests, show everything, stop
	@scripts/demo

test: install ## Run every test but the slow ones
	@scripts/test

test-slow: install ## Run the tests that take minutes
	@.venv/bin/python -m pytest -m slow

test-systemd: install ## Run the generated units in a real systemd, booted for each test
	@$(BIN)/python -m pytest -m systemd

soak: install ## Kill and replace doors under checked traffic for SOAK_SECONDS (default 1800)
	@scripts/soak

test-mac: install ## Run the door under SELinux and AppArmor, enforcing, in emulated machines
	@scripts/test-mac

test-cgroup2: install ## Run the limits under control groups of version 2, in an emulated machine
	@scripts/test-cgroup2

test-s3: install ## Run the signer beside an S3 server that verifies signatures by itself
	@scripts/test-s3

test-machine: install ## Run what only other kernels can show (vsock, AppArmor, SELinux, quotas), emulated
	@scripts/test-machine

check-aarch64: ## Compile everything for aarch64, with clippy, without linking
	@scripts/check-aarch64

check: install ## Formatting, lint, types, layers, licences
	@scripts/check

format: install ## Format all code
	@cargo fmt --all
	@for m in fuzz benches/harness examples/handoff-rust; do cargo fmt --manifest-path $$m/Cargo.toml; done
	@$(BIN)/ruff format src tests
	@$(BIN)/ruff check --fix-only --quiet src tests

bench: install ## Measure the door against haproxy, nginx, sniproxy and systemd-socket-proxyd
	@scripts/bench

bench-neighbours: install ## Measure one application beside another that takes all it can get
	@scripts/bench-neighbours

bench-hosts: ## Measure looking names up among 10 to 1,000,000 folders (memory for 1,500 MB)
	@TMPDIR=$${TMPDIR:-/dev/shm} cargo bench --quiet -p cloister-door --bench hosts_directory

bench-audit: install ## Measure auditing 500 processes
	@$(BIN)/python benches/audit.py

bench-spawn: install ## Measure making a cell against bubblewrap and unshare(1)
	@scripts/bench-spawn

bench-unit: install ## Measure from a PUT of a Unit configuration to the first answer
	@scripts/bench-unit

fuzz: ## Fuzz each target for FUZZ_SECONDS (default 60)
	@scripts/fuzz

clean: ## Remove everything that was built
	@rm -rf target $(VENV) .build fuzz/target benches/harness/target
