# Two commands matter: `make demo` and `make test`. Both need Python 3.11 and the package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# Each file by one of some processes: a process has its own servers, and its tests share them.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: demo install install-dev test test-all check accuracy endure lock clean

demo: install  ## train the demonstration's model and say what came of it
	@$(BIN)/ostinato demo
	@$(BIN)/ostinato run deployments/jobs/digits.yaml
	@echo
	@echo "Look at it: $(BIN)/ostinato ui   (Prefect and MLflow on 127.0.0.1, until Ctrl-C)"
	@echo "Next:       $(BIN)/ostinato run deployments/jobs/volume.yaml"

install: $(VENV)/.installed  ## make the virtual environment from the lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	@$(PIP) install --requirement requirements-dev.lock
	@# Alone: its Triton comes with torch where there is a GPU, and nothing else needs it.
	@$(PIP) install --no-deps flashrnn==1.0.8
	@touch $@

test: install-dev  ## everything but what takes minutes
	$(PYTEST) -m "not slow"

test-all: install-dev  ## the slow tests too
	$(PYTEST)

check: install-dev  ## format, lint, types, import arrows, schema and docs/job.md, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/ostinato schema --check
	$(PYTEST)

accuracy: install-dev  ## out of the box, on the datasets of the folder OSTINATO_DATA; hours
	$(BIN)/python tests/benchmarks/accuracy.py $(ACCURACY_OPTIONS)

endure: install-dev  ## kills, damage, malformed input, jumping clocks; half an hour, two cores
	$(BIN)/python -m tests.faults.endure.runner --results tests/benchmarks/RESULTS.md $(ENDURE_OPTIONS)

lock: install-dev  ## solve the dependencies anew, with pip's own resolver
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-options --allow-unsafe --no-header --no-annotate --extra s3 --output-file requirements.lock pyproject.toml
	sed -i -e 's/+cpu$$//' -e '/^# /d' requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-options --allow-unsafe --no-header --no-annotate --extra dev --constraint requirements.lock \
	  --output-file requirements-dev.lock pyproject.toml
	sed -i -e 's/+cpu$$//' -e '/^# /d' requirements-dev.lock

clean:  ## everything that was made here
	rm -rf .ostinato $(VENV)
