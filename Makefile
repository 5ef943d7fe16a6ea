# `make demo` and `make test` work from nothing: each builds .venv when it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A release by name, of which a CPU build is at hand: a plain `pip install torch` may bring gigabytes
# of GPU libraries. An extra of pyproject.toml and torch make one set, installed in one call.
TORCH ?= torch==2.13.0
# Tiny networks are slower with several threads; a fixed number makes results repeatable.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint coverage test-oldest docs check-site dist peers report paper-tables clean

demo: $(VENV)/.plot
	$(BIN)/python docs/examples/plot_demo.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term-missing

# The oldest supported set of dependencies, in an environment of its own. That set's torch is 2.6.0,
# TORCH=torch==2.6.0; the default is newer, because on x86-64 Linux a package index may have that
# release as a CUDA build only, with gigabytes of GPU libraries.
test-oldest: .venv-oldest/.done
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal

# User guide, API reference and the gallery, whose examples are run: docs/_build/html.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The built site in a headless Chromium; skipped, with a message, where there is none.
check-site: docs
	$(BIN)/python docs/check_site.py docs/_build/html

# sdist and wheel in dist/; each runs the README's code in a fresh environment.
dist: $(VENV)/.dist
	rm -rf dist build
	$(BIN)/python -m build --outdir dist
	$(PYTHON) -m venv build/venv
	build/venv/bin/python -m pip install --quiet $(TORCH) dist/skad-*.whl
	cd build && venv/bin/python -m doctest ../README.md
	build/venv/bin/python -m pip install --quiet --no-deps --force-reinstall dist/skad-*.tar.gz
	cd build && venv/bin/python -m doctest ../README.md

# What skad is compared with, in an environment of its own: the packages disagree about versions.
peers: .venv-peers/.done

# Tables and pictures of the benchmark, from its csv.
report: $(VENV)/.benchmark
	$(BIN)/python -m benchmarks.report

# The papers' table for tabular data, run by run, with the data folder in SKAD_DATA; then the tables
# of docs/papers.rst from all csv. Runs whose csv row is there are left out: delete the csv to
# run them anew.
paper-tables: $(VENV)/.benchmark
	$(BIN)/python -m benchmarks.paper_tables tabular --jobs 2
	$(BIN)/python -m benchmarks.paper_report

clean:
	rm -rf $(VENV) .venv-oldest .venv-peers build dist docs/_build docs/auto_examples docs/generated

$(VENV)/.%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(TORCH) -e '.[$*]'
# What pip would do, on all cores and without the packages' own tests; some files are templates.
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	touch $@

.venv-oldest/.done: requirements-oldest.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet $(TORCH) -r requirements-oldest.txt -e .
	touch $@

.venv-peers/.done: pyproject.toml
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --quiet $(TORCH) -e . catboost imbalanced-learn xgboost \
		pyod anomatools numba pandas tqdm
	.venv-peers/bin/python -m pip install --quiet --no-deps deepod
	touch $@
