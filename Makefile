# make quickstart   install, train the MLP VAE with L2 and with log-cosh on MNIST, write a report comparing them
# make test         install, then run linter, type checker and tests
# make lint         install, format and fix the code, then run the type checker
# make clean        remove the virtual environment and all build output
#
# PYTHON=/path/to/python3 selects the interpreter (3.11 or newer) for the virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint clean

quickstart: $(VENV)/.run
	$(BIN)/logcosh-vae compare --data mnist --model vae-mlp --loss l2 --loss log-cosh --a 100 \
	    --epochs 12 --out runs/quickstart --resume

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal  # two workers with several threads each would compete for the cores

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

$(BIN)/python:
	PYTHON="$(PYTHON)" sh tools/make-venv.sh $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt src/logcosh_vae/losses/log_cosh.c
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
