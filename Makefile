# featherseg. What it takes: python3 (3.11 or newer) with venv, and make. Everything lands in .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Two processes of two threads each would get in each other's way on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check

help:  ## print this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-9s  %s\n", $$1, $$2}' Makefile

demo: .venv/.stamp-runtime  ## segment a street picture with the bundled network; the last line is the overlay's path
	@$(BIN)/featherseg predict src/featherseg/runtime/bundled/street.jpg --out predictions

test: .venv/.stamp-dev  ## run the fast tests
	$(PYTEST)

test-slow: .venv/.stamp-dev  ## run the tests that take long
	$(PYTEST) -m slow

check: .venv/.stamp-dev  ## look at format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The base install: numpy, Pillow and onnxruntime; no torch.
.venv/.stamp-runtime: pyproject.toml constraints.txt
	@echo "setting up .venv with the runtime alone" >&2
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

# Everything: training, export, tests and checks.
.venv/.stamp-dev: pyproject.toml constraints.txt
	@echo "setting up .venv for development: some minutes, 6 GB" >&2
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[dev]'
	@touch .venv/.stamp-runtime $@
