# make quickstart   set up, train the MLP VAE with L2 and with log-cosh on MNIST, compare them in a report
# make test         set up, then lint, types and tests
# make coverage     the tests once more, with the lines that they do not reach
# make packaging    build the wheel and use it in fresh environments, without and with the extra `all`: installs torch
#                   twice (with its CPU build about five minutes and 2 GB in the temporary folder)
# make clean        remove the virtual environment and what was built

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test coverage packaging lint clean

quickstart: $(VENV)/.run
	$(BIN)/logcosh-vae compare --data mnist --model vae-mlp --loss l2 --loss log-cosh --a 100 \
	    --epochs 12 --out runs/quickstart --resume

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal  # threads that wait for each other cost ten times their work

coverage: $(VENV)/.dev  # apart from `test`, because it makes tests that compute little take up to 1.7 times as long
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report term-missing

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

packaging: $(VENV)/.dev
	$(BIN)/python tools/check_packaging.py

$(BIN)/python:
	PYTHON="$(PYTHON)" sh tools/make-venv.sh $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml setup.py constraints.txt src/logcosh_vae/losses/log_cosh.c
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
