# All tasks. A bare machine needs Python 3.11 or newer and make; everything else is installed here.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/peers
SDK_PEERS := $(VENV)/sdk-peers
# setuptools warns about editable installs as such.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check
PORT ?= 8080
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint types docs bench calibration chaos guides vectors references wheel-check lock clean

help: ## list all tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) dev/make_venv.py $(VENV)

$(VENV)/demo.stamp: setup.cfg pyproject.toml constraints.txt sdk/setup.cfg | $(BIN)/python
	@echo "installing into $(VENV), about half a minute"
	@$(PIP) install --quiet --constraint constraints.txt --editable ./sdk --editable '.[demo]'
	@touch $@

$(VENV)/dev.stamp: setup.cfg pyproject.toml constraints.txt sdk/setup.cfg | $(BIN)/python
	@echo "installing what the suite needs into $(VENV), about a minute"
	@$(PIP) install --quiet --constraint constraints.txt --editable ./sdk --editable '.[dev,docs]'
	@touch $@ $(VENV)/demo.stamp

# Other packages to compare with: gbstats needs an older numpy than ours.
$(PEERS)/peers.stamp: dev/peers.txt
	@$(PYTHON) dev/make_venv.py $(PEERS)
	@echo "installing the peers into $(PEERS), about half a minute"
	@PYTHONWARNINGS=ignore $(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet -r dev/peers.txt
	@touch $@

# SDKs of the field, which must not meet the product's packages.
$(SDK_PEERS)/peers.stamp: dev/sdk_peers.txt sdk/setup.cfg
	@$(PYTHON) dev/make_venv.py $(SDK_PEERS)
	@echo "installing SDKs to compare with into $(SDK_PEERS), about a minute"
	@PYTHONWARNINGS=ignore $(SDK_PEERS)/bin/python -m pip --disable-pip-version-check install --quiet -r dev/sdk_peers.txt --editable ./sdk
	@touch $@

demo: $(VENV)/demo.stamp ## install, import a real experiment, run a live one, show the readouts
	@exec $(BIN)/abplatform demo

serve: $(VENV)/demo.stamp ## start the server on the embedded default (PORT=8080)
	@exec env ABPLATFORM_PORT=$(PORT) $(BIN)/abplatform serve

test: $(VENV)/dev.stamp ## install what the suite needs, then run all of it
	$(BIN)/python dev/system_packages.py
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q -rs $(ARGS)

lint: $(VENV)/dev.stamp ## ruff, on everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy; strict on assignment, stats, domain and the SDK
	$(BIN)/mypy

docs: $(VENV)/dev.stamp ## build the documentation, warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/dev.stamp $(PEERS)/peers.stamp $(SDK_PEERS)/peers.stamp ## speed and weight beside peers in the same run (ARGS=ingest)
	$(BIN)/python -m benchmarks $(ARGS)

calibration: $(VENV)/dev.stamp ## simulate what every method promises, write docs/calibration.md (about five minutes)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.calibration

chaos: $(VENV)/dev.stamp ## what SDK and event path withstand: outages, kills, power cuts, full disks (long; ARGS=kills)
	$(BIN)/python -m tests.chaos $(ARGS)

guides: $(VENV)/dev.stamp ## run the commands of the guides again and write what they print; read the diff
	$(BIN)/python -m tests.docs.guides
	git diff --stat -- docs/guides

vectors: $(VENV)/dev.stamp ## write the public vectors again; read the diff
	$(BIN)/python -m tests.vectors.regenerate
	git diff --stat -- tests/vectors

references: $(PEERS)/peers.stamp ## ask other packages again for what the tests compare with; read the diff
	$(PEERS)/bin/python dev/peer_references.py tests/peers/references.json
	git diff --stat -- tests/peers

wheel-check: $(VENV)/dev.stamp ## build both wheels from a clean copy, install them alone, use them
	$(BIN)/python dev/wheel_check.py

lock: ## renew constraints.txt from the ranges in setup.cfg (with the oldest Python that shall use it)
	$(PYTHON) dev/lock.py

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist docs/_build *.egg-info sdk/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
