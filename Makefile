# ganforge. `make demo` and `make test` need Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 2

.PHONY: demo test lint types check modes headlines clean

demo: $(VENV)/.installed
	$(BIN)/ganforge train fashion-mnist-mini --run runs/demo --minutes $(MINUTES)

# Two at a time; what starts processes or a browser of its own has the machine to itself.
ALONE := tests/studio tests/training
test: $(VENV)/.tested
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest $(ALONE)

lint: $(VENV)/.tested
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.tested
	$(BIN)/pyright

check: lint types test

OTHERS := gan dcgan lsgan wgan wgan-gp dragan infogan ebgan began sngan biggan ae vae
modes: $(VENV)/.tested
	$(BIN)/python benchmarks/modes.py r3gan --seeds 10
	$(BIN)/python benchmarks/modes.py $(OTHERS) --seeds 3

headlines: $(VENV)/.tested
	$(BIN)/python benchmarks/headlines.py
	$(BIN)/python benchmarks/family.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ganforge needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip

# torch and torchvision first, by themselves: a matching pair.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q torch torchvision
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/.tested: pyproject.toml | $(VENV)/.installed
	$(BIN)/pip install -q -e '.[test]'
	$(PYTHON) tests/system.py
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
