# make run | test | test-postgresql | check | gate | bench | chaos | screenshots | fmt | clean: each installs what it needs into .venv first.
# PYTHON= picks the interpreter; HOST= and PORT= where `make run` listens; URL= and TOKEN= the deployment that `make gate` judges.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
ARGS ?=
BIN := .venv/bin
# A hundred processes are started, by make and by the tests: each would compile all of Netra again.
export PYTHONDONTWRITEBYTECODE :=
MANAGE := $(BIN)/python manage.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test test-postgresql check gate bench chaos screenshots fmt clean runtime tools

help:
	@sed -n '1,2s/^# //p' Makefile

run: export HOST := $(HOST)
run: export PORT := $(PORT)
run: export NETRA_LLM_WARM := $(or $(NETRA_LLM_WARM),1)
run: runtime
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) collectstatic --noinput --verbosity 0
	@$(MANAGE) login_link
	@exec $(BIN)/daphne --verbosity 0 -b "$(HOST)" -p "$(PORT)" netra.asgi:application

test: tools
	@scripts/test $(ARGS)

test-postgresql: tools
	@scripts/test-postgresql $(ARGS)

check: tools
	@scripts/check

gate: export URL := $(URL)
gate: export TOKEN := $(TOKEN)
gate: tools
	@scripts/gate

bench: tools
	$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: tools
	$(BIN)/python -m tests.chaos $(ARGS)

# The pictures in docs/screenshots, taken anew.
screenshots: tools
	$(BIN)/python -m tests.screenshots

fmt: tools
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Leaves the data alone: that is in .netra, or where NETRA_DATA_DIR says.
clean:
	rm -rf .venv .venv-newest .venv*.lock .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

runtime:
	@scripts/install .venv $(PYTHON) requirements.txt

tools:
	@scripts/install .venv $(PYTHON) requirements-dev.txt
