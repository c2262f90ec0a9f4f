# Every target brings what it needs (scripts/bootstrap.sh) and does nothing twice.
# WORKERS: parallel test processes. PYTEST_ARGS: further arguments for pytest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format coverage bench bench-core bench-publish lock reference clean

BIN := .venv/bin
WORKERS ?= auto
PYTEST_ARGS ?=
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with the locked development set
	@scripts/bootstrap.sh python

demo: ## Build, run, edit and rebuild an example from nothing (under 5 minutes)
	@scripts/bootstrap.sh demo
	@$(BIN)/python scripts/demo.py

test: lint ## Lint, then unit, integration and example tests in parallel
	@scripts/bootstrap.sh test
	@$(PYTEST) -m "not slow"

test-all: lint ## The same with the very slow tests
	@scripts/bootstrap.sh test
	@$(PYTEST)

lint: setup ## ruff, mypy, codespell, shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/shellcheck scripts/*.sh .ci/run examples/*/scripts/prepare-queries

format: setup ## Let ruff repair and format what it can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

coverage: setup ## Line and branch coverage of the unit tests
	@$(PYTEST) tests/unit --cov --cov-report=term

bench: bench-core bench-publish ## Every benchmark; results go to benchmarks/results

bench-core: ## Start-up, no-op build, planning, layer writing, sandbox start, memory
	@scripts/bootstrap.sh demo
	@$(BIN)/python -m benchmarks.core

bench-publish: ## From a change to a published image, against BuildKit and Docker; export, no-op, --load, memory
	@scripts/bootstrap.sh test
	@$(BIN)/python -m benchmarks.publish

lock: setup ## Resolve pyproject.toml anew into requirements-dev.lock (no index host in it)
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements-dev.lock

reference: setup ## Write the pages of docs/reference that come from the code
	@$(BIN)/python scripts/project_reference.py
	@$(BIN)/python scripts/command_reference.py

clean: ## Remove caches and build output, keep .venv
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	@find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
