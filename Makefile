# Everything runs in .venv, which is made from the pinned versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
INSTALLED := $(VENV)/.installed
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt

# mypy finds packages by folders alone: a tree of links shows it the rooms as parts of lossearch.
LINKS := build/types
TYPES := cd $(LINKS) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
	-p lossearch -p benchmarks

# Tests of one group share what they start, such as a Ray: tests/conftest.py makes the groups and puts the longest first.
# Three workers fill two cores, because the group of Ray mostly waits for processes that start.
WORKERS ?= 3
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: demo install types test test-all test-long check static format bench clean

demo: $(RUNTIME)   ## a search on handwritten digits, about a minute on two cores
	$(BIN)/lossearch search experiments/digits.toml

install: $(INSTALLED)   ## .venv with the tools of development

test: check   ## format, lint, types and every kind of test, in minutes

test-all: static   ## the same with the long tests
	$(PYTEST)

test-long: $(INSTALLED)   ## the long tests alone
	$(PYTEST) -m long

check: static
	$(PYTEST) -m "not long"

static: $(INSTALLED)   ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory types

types: $(INSTALLED)   ## types alone
	rm -rf $(LINKS) && mkdir -p $(LINKS)/lossearch
	ln -s $(CURDIR)/lossearch/* $(addprefix $(CURDIR)/,primitives evaluators results experiments) $(LINKS)/lossearch
	ln -s $(CURDIR)/benchmarks $(LINKS)
	$(TYPES)

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)   ## the measured figures, as JSON
	$(BIN)/python -m benchmarks.engine --json
	$(BIN)/python -m benchmarks.losses --json
	$(BIN)/python -m benchmarks.cohorts --json
	$(BIN)/python -m benchmarks.cohort_growth --json
	$(BIN)/python -m benchmarks.rungs --steps 200 --json
	$(BIN)/python -m benchmarks.start_up --json
	$(BIN)/python -m benchmarks.demo --json
	$(BIN)/python -m benchmarks.comparison --json
	$(BIN)/python -m benchmarks.workers --json
	$(BIN)/python -m benchmarks.driver --json
	$(BIN)/python -m benchmarks.saturation --json
	$(BIN)/python -m benchmarks.leaderboard --json
	$(BIN)/python -m benchmarks.report --json

$(RUNTIME): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): 64 packages, 1.8 GB with a CPU build of torch, about two minutes on a fast connection."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@echo "Everything is in $(VENV); delete that folder to remove it."
	touch $@

$(INSTALLED): $(RUNTIME)
	@echo "Adding the tools of development to $(VENV): another 0.9 GB, about a minute."
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
