# The two commands of a newcomer are `make quickstart` and `make test`; both make the environment.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed

export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: quickstart test check format bench install clean

# torch first and alone: what depends on it would otherwise pull a build with CUDA libraries
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eva needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,ifeval,trl]'
	touch $@

install: $(STAMP)

quickstart: $(STAMP)  ## watch a real chat model train on prompts that eva writes
	$(BIN)/eva quickstart

test: $(STAMP)  ## the whole suite; skips GPU tests where there is none
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

check: $(STAMP)  ## what a reviewer runs first
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell src docs README.md CONTRIBUTING.md CHANGELOG.md

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## one round against the same work written with TRL
	$(BIN)/python benchmarks/round.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
