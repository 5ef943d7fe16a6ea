# `make demo` and `make test` work from nothing: each builds .venv when it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The CPU build by name first: a plain `pip install torch` may bring gigabytes of GPU libraries.
TORCH ?= torch==2.13.0
# Tiny networks are slower with several threads; a fixed number makes results repeatable.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint coverage test-oldest docs clean

demo: $(VENV)/.demo
	$(BIN)/python docs/examples/plot_demo.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term-missing

# The oldest supported set of dependencies, in an environment of its own.
test-oldest: .venv-oldest/.done
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal

# User guide, API reference and the gallery, whose examples are run: docs/_build/html.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) .venv-oldest

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[plot]'
	touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

.venv-oldest/.done: requirements-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet $(TORCH)
	.venv-oldest/bin/python -m pip install --quiet -r requirements-oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --no-deps -e .
	touch $@
