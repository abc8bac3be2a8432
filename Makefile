# Every target installs what it needs by itself and is quick when that is there already.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help install demo test check format bench fuzz clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Build both programs and the Python package into .venv
	@scripts/install

demo: install ## Start the example on loopback, send real requests, show everything, stop
	@scripts/demo

test: install ## Run every test but the slow ones
	@scripts/test

check: install ## Formatting, lint, types, layers, licences
	@scripts/check

format: install ## Format all code
	@cargo fmt --all
	@for m in fuzz benches/harness; do cargo fmt --manifest-path $$m/Cargo.toml; done
	@$(BIN)/ruff format src tests
	@$(BIN)/ruff check --fix-only --quiet src tests

bench: install ## Measure the door against haproxy, nginx, sniproxy and systemd-socket-proxyd
	@scripts/bench

fuzz: ## Fuzz each target for FUZZ_SECONDS (default 60)
	@scripts/fuzz

clean: ## Remove everything that was built
	@rm -rf target $(VENV) .build fuzz/target benches/harness/target
