# Needs python3 with its module venv. Everything else is installed in .venv.
# make run             run the daemon in the foreground with registry.json
# make demo            run the daemon and an announcer on this machine, and show what is registered
# make unit            run the fast tests
# make test            run all tests; ARGS=… goes to trial, as in ARGS=--until-failure
# make faults          measure the fault matrix of docs/reliability.md, as root; ARGS=--short takes about a third of the time
# make soak            run the daemon for MINUTES=30 with changing devices and a failing Consul, as root
# make lint            check format, lint and types
# make simulate        simulate HOURS=24 of the daemon with devices, faults and attackers, drawn from SEED=1
# make simulate-defects put known defects into a copy of the code, and show which seed of the simulation notices each
# make fuzz            run the fuzzer for SECONDS=60 on the path from a datagram to a registration
# make mutation        change the code in one place at a time, and check that the unit tests notice it. ARGS=--sample=200
# make pictures        make the pictures of the documentation from the running demo
# make bench           measure the daemon beside other receivers, and write docs/performance.md. ARGS="--only new --rounds 1"
# make clean           remove all generated files

PYTHON = python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
# Options of the Python that runs trial: CI measures the coverage with them.
RUNNER =
ARGS =
TESTS = tests
MINUTES = 30
SECONDS = 60
HOURS = 24
SEED = 1
PACKAGING = setup.cfg pyproject.toml

.PHONY: demo run unit test simulate simulate-defects faults soak lint fuzz mutation pictures bench clean

demo: .venv/installed
	@$(BIN)/python demo/demo.py

run: .venv/installed
	$(BIN)/twistd --nodaemon --pidfile= ssdpreg --config registry.json

unit: TESTS = tests.unit tests.fuzz
unit: test

test: .venv/installed-dev
	@echo "Running $(TESTS). The end of the output lists the skipped tests with the reasons, and their number."
	$(BIN)/python $(RUNNER) -m twisted.trial $(ARGS) $(TESTS)

faults: .venv/installed-dev
	$(BIN)/python -m tests.faults $(ARGS)

soak: .venv/installed-dev
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

simulate: .venv/installed-dev
	$(BIN)/python -m tests.simulation --hours $(HOURS) --seed $(SEED) $(ARGS)

simulate-defects: .venv/installed-dev
	$(BIN)/python -m tests.simulation.defects $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# New inputs stay in .fuzz, so that the next run goes on from there.
fuzz: .venv/installed-fuzz
	@mkdir -p .fuzz
	$(BIN)/python -m tests.fuzz.fuzz .fuzz tests/fuzz/corpus -max_total_time=$(SECONDS) -max_len=800 -print_final_stats=1 \
	    -artifact_prefix=.fuzz/ $(ARGS)

mutation: .venv/installed-mutation
	$(BIN)/python -m tests.mutation.run $(ARGS)

pictures: .venv/installed-dev
	$(BIN)/python demo/pictures.py

# Other receivers are installed for the benchmarks only.
bench: .bench-venv/installed
	.bench-venv/bin/python -m bench $(ARGS)

clean:
	rm -rf .venv .bench-venv .ci-venvs .fuzz .npm faults .hypothesis .mypy_cache .ruff_cache _trial_temp* .coverage* build dist *.egg-info
	rm -f twisted/plugins/dropin.cache

.venv/installed: $(PACKAGING)
	@echo "Installing the daemon in .venv. This takes a minute."
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Installing the tools for tests in .venv."
	@$(PIP) --editable '.[dev]'
	@touch $@

.venv/installed-fuzz .venv/installed-mutation: .venv/installed-%: .venv/installed-dev
	@$(PIP) --editable '.[$*]'
	@touch $@

.bench-venv/installed: $(PACKAGING)
	@echo "Installing the daemon and other receivers in .bench-venv. This takes a minute."
	@$(PYTHON) -m venv .bench-venv
	@.bench-venv/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[bench]'
	@touch $@
