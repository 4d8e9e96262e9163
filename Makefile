# `make train` and `make test` need only Python (>= 3.11), pip, git and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export JAX_PLATFORMS ?= cpu

.PHONY: train test test-slow test-all test-neighbours lint types docs bench bench-quick bench-check house clean

train: $(VENV)/train.stamp
	$(BIN)/python examples/digits.py

# One process for each core, but at most 8, as each may take up to 3 GB of memory.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test: $(VENV)/test.stamp
	@echo "The fast tests, on all cores. On two cores they take some 10 minutes the first time, and 6 once programs are compiled."
	@echo "How long they take here is shown every twentieth of the way. \`make test-all\` has the rest."
	$(PYTEST)

# Bits are compared with those of dm-haiku as users' programs are compiled. That takes twice as long.
test-slow: $(VENV)/test.stamp
	$(PYTEST) -m "slow and not rare" --ignore tests/haiku_parity
	$(PYTEST) -m "slow and not rare" --optimize tests/haiku_parity

test-all: $(VENV)/test.stamp
	$(PYTEST) -m "slow or not slow" --optimize

# In a venv of its own, as these packages are large.
test-neighbours:
	$(MAKE) VENV=.venv-neighbours .venv-neighbours/neighbours.stamp
	.venv-neighbours/bin/python -m pytest tests/neighbours -m "slow or not slow"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/test.stamp $(VENV)/train.stamp
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

house: $(VENV)/test.stamp
	$(BIN)/python -m tests.house

# What is measured goes to out/benchmarks.json. `make bench-quick` takes less than 3 minutes.
bench: $(VENV)/bench.stamp
	mkdir -p out
	$(BIN)/python benchmarks/compare.py --json out/benchmarks.json
	$(BIN)/python benchmarks/depth.py --json out/benchmarks.json
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/start.py

bench-quick: $(VENV)/bench.stamp
	$(BIN)/python benchmarks/compare.py --quick

bench-check: $(VENV)/test.stamp
	$(BIN)/python benchmarks/trace.py --check --repeats 1
	$(BIN)/python benchmarks/views.py --check

# One stamp for each set of extras, made anew when what is needed changes.
$(VENV)/%.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	$(BIN)/python -m compileall -q purestate
	touch $@

clean:
	rm -rf $(VENV) .venv-newest .venv-neighbours docs/_build out .pytest_cache .ruff_cache .hypothesis .jax_cache
