# `make demo` and `make test` need nothing but Python 3.11 or newer and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser test-all check format docs bench mutants clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cpu,dev]'
	@touch $@

demo: $(INSTALLED)  ## synthetic X-rays, an index over them, a query: from nothing to a contact sheet
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

test: $(INSTALLED)  ## all tests but slow, gpu and browser
	$(BIN)/python -m pytest -n 2 -m 'not slow and not gpu and not browser'

test-browser: $(INSTALLED)  ## the tests in a real browser: Chromium, as Debian packages it
	$(BIN)/python -m pytest -m browser

test-all: $(INSTALLED)  ## every test
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## ruff, formatting, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## the documentation as a site, with the Python API: site/index.html
	$(BIN)/python docs/build_site.py

bench: $(INSTALLED)  ## speed and memory, an hour or two: one table of ratios against named peers, aims, machine, versions
	$(BIN)/python benchmarks/bench.py

mutants: $(INSTALLED)  ## mutation testing of the computing modules, over half an hour: a table and the survivors
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	$(BIN)/python benchmarks/mutants.py

clean:  ## remove what make made
	rm -rf $(VENV) demo site .mypy_cache .ruff_cache .pytest_cache
