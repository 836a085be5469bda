# Needs python3 with venv, and nothing else.
# make demo            the daemon at work, in a table
# make run             the daemon alone, in the foreground, with registry.json
# make test            every test; ARGS=… goes to trial, as in ARGS=--until-failure
# make lint            format, lint and types
# make clean           away with everything that was made here

PYTHON = python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
# What runs trial: CI measures coverage by it.
RUNNER =
ARGS =
TESTS = tests
PACKAGING = setup.cfg pyproject.toml

.PHONY: demo run test lint clean

demo: .venv/installed
	@$(BIN)/python demo/demo.py

run: .venv/installed
	$(BIN)/twistd --nodaemon --pidfile= ssdpreg --config registry.json

test: .venv/installed-dev
	$(BIN)/python $(RUNNER) -m twisted.trial $(ARGS) $(TESTS)

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv .ci-venvs .hypothesis .mypy_cache .ruff_cache _trial_temp* .coverage build dist *.egg-info
	rm -f twisted/plugins/dropin.cache

.venv/installed: $(PACKAGING)
	@echo "Setting up .venv, once; this takes a minute."
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Adding the tools for tests to .venv, once."
	@$(PIP) --editable '.[dev]'
	@touch $@
