# Needs Python 3.11 or newer and make. Everything is installed into ./.venv and ./.tox.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help up test proto clean
.DELETE_ON_ERROR:

help:
	@echo 'make up     start a local cluster in the foreground (seeds.json says how large); Ctrl-C ends it'
	@echo 'make test   format, lint, types, import contracts, generated code and tests'
	@echo 'make proto  regenerate proto/generated from proto/covey/v1/*.proto'
	@echo 'make clean  remove what the others installed and built; data (.covey) and logs stay'

up: $(VENV)/.covey
	@$(BIN)/covey up

test: $(VENV)/.tox
	$(BIN)/tox run -e check

proto: $(VENV)/.proto
	$(BIN)/python proto/generate.py

clean:
	rm -rf $(VENV) .tox build dist covey.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "covey needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than pyproject.toml as long as what they stand for is installed as it says.
$(VENV)/.covey: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.tox: pyproject.toml | $(BIN)/python
	$(PIP) 'tox>=4.22'
	@touch $@

$(VENV)/.proto: pyproject.toml | $(BIN)/python
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group proto
	@touch $@
