# Two commands for a newcomer: `make run` and `make test`.
# Another Python: `make test PYTHON=python3.13` (it gets a folder of its own).

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIND ?= 127.0.0.1:8000
WORKERS ?= 8
ARGS ?=
COMPILED ?=
SECONDS ?= 60
PYTHON27 ?= python2.7

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help run test test-long test-browser test-systemd test-debian test-podman test-compiled check format wheel docs docs-site bench bench-all simulate soak fuzz mutants ranges autobahn h2spec clean

help:
	@echo "make run           serve examples/hello.py with $(WORKERS) workers on $(BIND)"
	@echo "make test          run the tests             (ARGS='-k name')"
	@echo "make test-long     the scenarios that take longest"
	@echo "make test-browser  those that drive Chromium"
	@echo "make test-systemd  those that need a systemd"
	@echo "make test-debian   README and tutorial in a fresh Debian 12"
	@echo "make test-podman   the image of deploy/, built and run"
	@echo "make test-compiled the tests of wire/ and of servers, compiled"
	@echo "make check         format, lint, types, contracts, spelling"
	@echo "make format        put the code into its format"
	@echo "make wheel         build dist/*.whl, to install elsewhere (COMPILED=1: faster)"
	@echo "make docs          write what documents have from the code"
	@echo "make docs-site     build them into build/site, for browsers"
	@echo "make bench         compare with other servers (ARGS='--only uvicorn')"
	@echo "make bench-all     every case beside its peers, and its bar"
	@echo "make simulate      random histories of the fleet"
	@echo "make soak          long runs under load      (ARGS='--short --only kills')"
	@echo "make ranges        10,000 range requests, beside nginx"
	@echo "make autobahn      its WebSocket test suite  (PYTHON27=python2.7)"
	@echo "make h2spec        its cases of HTTP/2, where it is installed"
	@echo "make fuzz          coverage-guided fuzzing   (SECONDS=600)"
	@echo "make mutants       wrong code, do tests notice? (ARGS=blazeio/wire/chunked.py)"
	@echo "make clean         remove everything that make has made"

run: $(VENV)/.stamp-run
	@echo "serving examples/hello.py on http://$(BIND)/ with $(WORKERS) workers; ^C ends it"
	@exec $(BIN)/blazeio-supervisor hello:web --app-dir examples \
		--workers $(WORKERS) --bind $(BIND) $(ARGS)

test: $(VENV)/.stamp-dev
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

test-long: PARALLEL := -n 4 --dist worksteal

test-systemd: PARALLEL := -n 2 --dist loadfile  # a machine for each file

test-debian: PARALLEL := -n 2 --dist loadfile -o faulthandler_timeout=600  # a machine for each user

test-long test-browser test-systemd test-debian test-podman: $(VENV)/.stamp-dev
	@$(BIN)/python -m pytest $(PARALLEL) -m $(@:test-%=%) $(ARGS)

test-compiled: $(VENV)/.stamp-dev
	@$(BIN)/python -m pytest -m long tests/test_compiled_wheel.py $(ARGS)

check: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.stamp-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.stamp-venv
	@$(if $(COMPILED),BLAZEIO_COMPILE=1) $(PIP) wheel --no-deps --wheel-dir dist .
	@ls dist/blazeio_supervisor-*.whl

docs-site: $(VENV)/.stamp-dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file docs/site/mkdocs.yml
	@echo "built: build/site/index.html"

docs: $(VENV)/.stamp-dev
	$(BIN)/python -m tests.architecture.documents.generated

bench: $(VENV)/.stamp-bench
	@$(BIN)/python -m tests.bench $(ARGS)

bench-all: $(VENV)/.stamp-bench
	@$(BIN)/python -m tests.bench.table $(ARGS)

simulate: $(VENV)/.stamp-dev
	@$(BIN)/python -m tests.simulation.simulate $(ARGS)

soak: $(VENV)/.stamp-dev
	@$(BIN)/python -m tests.soak $(ARGS)

ranges: $(VENV)/.stamp-dev
	@$(BIN)/python -m tests.conformance.range_peers 10000

autobahn: .venv-autobahn/bin/wstest
	@$(BIN)/python -m tests.conformance.autobahn .venv-autobahn/bin/wstest

h2spec: $(VENV)/.stamp-dev
	@$(BIN)/python -m tests.conformance.h2spec

# Its client runs on Python 2.7 alone; later virtualenvs do not know that.
.venv-autobahn/bin/wstest: $(VENV)/.stamp-dev
	@echo "installing Autobahn|Testsuite with $(PYTHON27)"
	@$(PIP) install 'virtualenv<20.22'
	@$(BIN)/virtualenv --quiet --python $(PYTHON27) .venv-autobahn
	@.venv-autobahn/bin/pip install --quiet autobahntestsuite==25.10.1

# A program of its own, with a hundred dependencies: not into the environment of the tests.
.venv-checkov/bin/checkov: $(VENV)/.stamp-venv
	@echo "installing checkov"
	@$(PYTHON) -m venv .venv-checkov
	@.venv-checkov/bin/pip install --quiet --disable-pip-version-check 'checkov>=3.3'

fuzz: $(VENV)/.stamp-fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)
	@$(BIN)/python -m tests.fuzz.local_users --seconds $(SECONDS)
	@$(BIN)/python -m tests.fuzz.servers --seconds $(SECONDS)
	@$(BIN)/python -m tests.fuzz.clients --seconds $(SECONDS)
	@$(BIN)/python -m tests.fuzz.http2 --seconds $(SECONDS)
	@$(BIN)/python -m tests.fuzz.children --seconds $(SECONDS)

mutants: $(VENV)/.stamp-mutants
	@$(BIN)/python -m tests.mutants $(ARGS)

clean:
	rm -rf .venv .venv-* build dist .coverage* .pytest_cache .mypy_cache \
		.ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is younger than pyproject.toml exactly when its install is done.
# Debian 12's pip has no --group; hence the upgrade.
$(VENV)/.stamp-venv:
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.stamp-run: pyproject.toml $(VENV)/.stamp-venv
	@echo "installing blazeio into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-run
	@echo "installing what tests and checks need"
	@$(PIP) install --group dev
	@touch $@

$(VENV)/.stamp-bench: pyproject.toml $(VENV)/.stamp-run
	@echo "installing the servers to compare with"
	@$(PIP) install --group bench
	@touch $@

$(VENV)/.stamp-fuzz: pyproject.toml $(VENV)/.stamp-dev
	@echo "installing the fuzzer"
	@$(PIP) install --group fuzz
	@touch $@

$(VENV)/.stamp-mutants: pyproject.toml $(VENV)/.stamp-dev
	@echo "installing what changes the code"
	@$(PIP) install --group mutants
	@touch $@
