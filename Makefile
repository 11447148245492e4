# Everything runs in .venv, which is made from the pinned versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check format bench clean

demo: $(INSTALLED)   ## a search on handwritten digits, about a minute on two cores
	$(BIN)/lossearch search experiments/digits.toml

test: $(INSTALLED)   ## format, lint, types and tests
	$(MAKE) --no-print-directory check

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)   ## the measured figures, as JSON
	$(BIN)/python benchmarks/engine.py --json
	$(BIN)/python benchmarks/losses.py --json
	$(BIN)/python benchmarks/cohorts.py --json
	$(BIN)/python benchmarks/cohort_growth.py --json
	$(BIN)/python benchmarks/rungs.py --steps 200 --json
	$(BIN)/python benchmarks/start_up.py --json
	$(BIN)/python benchmarks/demo.py --json
	$(BIN)/python benchmarks/comparison.py --json
	$(BIN)/python benchmarks/workers.py --json
	$(BIN)/python -m benchmarks.driver --json
	$(BIN)/python -m benchmarks.saturation --json
	$(BIN)/python benchmarks/leaderboard.py --json
	$(BIN)/python -m benchmarks.report --json

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--config-settings editable_mode=compat --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
