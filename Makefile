# Everything runs in .venv, which is made from the pinned versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# mypy finds packages by folders alone: a tree of links shows it the rooms as parts of lossearch.
LINKS := build/types
TYPES := cd $(LINKS) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache \
	-p lossearch -p benchmarks

# Tests of one group share what they start, such as a Ray: tests/conftest.py makes the groups and puts the longest first.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-all test-long check static format bench clean

demo: $(INSTALLED)   ## a search on handwritten digits, about a minute on two cores
	$(BIN)/lossearch search experiments/digits.toml

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

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
