# The two commands a newcomer needs are `make demo` and `make test`; both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DEMO_STAMP := $(VENV)/.demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
AREA ?= serving

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts bench docs clean

help:
	@echo "make demo    turn the whole loop once on real data"
	@echo "make test    everything that must hold: lint, types, contracts, tests, docs"
	@echo "make setup   .venv with all that the tests need"
	@echo "make lint    format and fix what can be fixed"
	@echo "make bench   AREA=serving: measure against peers and floors; options in ARGS=..."
	@echo "make docs    build the documentation into site/"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Mainspring needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the demo needs is a small part of what the tests need, and is there sooner.
$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	@echo "installing what the demo needs into $(VENV) ..."
	$(PIP) -e '.[demo]'
	@touch $(DEMO_STAMP)

$(STAMP): pyproject.toml requirements-dev.txt | $(BIN)/python
	@echo "installing what the tests need into $(VENV) ..."
	$(PIP) -r requirements-dev.txt
	@touch $(DEMO_STAMP) $(STAMP)

setup: $(STAMP)

demo: $(DEMO_STAMP)
	$(BIN)/mainspring demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 -q

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m bench.$(AREA) $(ARGS)

docs: $(STAMP)
	$(BIN)/python docs/reference.py
	$(BIN)/zensical build

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
