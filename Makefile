# Two commands do all the set-up on a machine with Python 3.11:  make demo,  make test.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo test quick lint format bench clean

help:            ## show this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)/.core  ## the main job on real footage: video to corpus to gallery
	$(BIN)/effectpairs demo --workspace demo/workspace --corpus demo/corpus

test: $(VENV)/.dev lint  ## every check: lint, types, all tests
	$(BIN)/python -m pytest

quick: $(VENV)/.dev  ## the tests that take seconds
	$(BIN)/python -m pytest -m 'not slow'

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -m effectpairs.cli -m effectpairs.console -m effectpairs.arrays -m effectpairs.extras

format: $(VENV)/.dev  ## let ruff lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## ratios against plain references, measured in the same run
	$(BIN)/python tests/benchmarks/run_all.py

clean:           ## remove the environment and the demo
	rm -rf $(VENV) demo *.egg-info build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)

# The stamps are newer than what they were made from; the core holds no torch.
$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@touch $(VENV)/.core

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $(VENV)/.core $(VENV)/.dev
