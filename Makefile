# `make demo` and `make test` need Python 3.11-3.13 with venv, and nothing else.
PYTHON ?= $(shell for name in python3.12 python3.13 python3.11 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo setup test lint check bench docs-check requirements clean

help:                 ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.runs   ## load the built-in shop, segment it, serve it on http://127.0.0.1:8080 (PORT)
	@ENV=$${ENV:-development} $(BIN)/python -m app demo

setup: $(VENV)/.tests ## create .venv with everything installed

# A process for each core, and in each one OpenMP thread: more of them wait for each other by spinning, and beside other
# work take several times as long. File after file as they stand, so that those of a folder find what it has made.
test: $(VENV)/.tests  ## all tests
	@scripts/provide_browser.sh
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.tests  ## format, lint, types, import contracts, migrations in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_migrations.py

check: lint test      ## lint, then the tests

bench: $(VENV)/.tests ## the benchmarks, into docs/BENCHMARKS.md
	$(BIN)/python -m app bench --json docs/benchmarks.json --markdown docs/BENCHMARKS.md

docs-check: $(VENV)/.tests ## links and examples of the documentation
	$(BIN)/python -m pytest tests/test_docs.py

requirements: $(VENV)/.tests ## pin the dependencies anew, with hashes
	$(BIN)/python scripts/pin_requirements.py

clean:                ## remove .venv (data under .data stays)
	rm -rf $(VENV)

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 with venv found. Install one (on Debian or Ubuntu: apt-get install python3-venv), or say where: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runs: $(VENV)/.python requirements.txt pyproject.toml
	@scripts/install.sh $(BIN) requirements.txt
	@touch $@

$(VENV)/.tests: $(VENV)/.python requirements-test.txt pyproject.toml
	@scripts/install.sh $(BIN) requirements-test.txt
	@touch $@ $(VENV)/.runs
