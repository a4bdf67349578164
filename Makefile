# make quickstart   install, train the MLP VAE with L2 and with log-cosh on MNIST, write a report comparing
#                   them and a page to explore them in a browser
# make test         install, then run linter, type checker and tests
# make docs         install, then build the documentation site in build/docs; a warning is an error
# make lint         install, format and fix the code, then run the type checker
# make coverage     run the tests alone and list the lines that they do not reach
# make gpu-script   run every stage of benchmarks/gpu.py on the CPU, with small networks: about five minutes
# make soak         attack the program with random inputs, kills and full disks for ten minutes: docs/reliability.md
# make packaging    build sdist and wheel and use them in a fresh environment, without and with the extra `all`: installs
#                   torch (with its CPU build about three minutes and 1 GB in the temporary folder)
# make dist         build sdist and wheel for a release in dist, and use them in a fresh environment of each Python that is
#                   found of 3.11, 3.12 and 3.13, with and without a compiler (with CUDA builds of torch 6 GB each)
# make examples     run the examples in an environment with their libraries: about ten minutes, 2 GB in build/examples;
#                   EXAMPLES="keras_loss or ten_minutes" runs some of them
# make clean        remove the virtual environment and all build output
#
# PYTHON=/path/to/python3 selects the interpreter (3.11 or newer) for the virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test coverage docs gpu-script soak packaging dist examples lint clean

quickstart: $(VENV)/.run
	$(BIN)/logcosh-vae compare --data mnist --model vae-mlp --loss l2 --loss log-cosh --a 100 \
	    --epochs 12 --out runs/quickstart --resume
	$(BIN)/logcosh-vae explore runs/quickstart/runs/*/ -o runs/quickstart/explore.html --overwrite

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu_script" --durations 15  # two workers with several threads each would compete for the cores

coverage: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report term-missing

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

gpu-script: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m gpu_script

docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	@echo "open build/docs/index.html"

soak: $(VENV)/.dev
	$(BIN)/python -m tools.soak --minutes 10 --resume

packaging: $(VENV)/.dist
	$(BIN)/python tools/check_packaging.py

dist: $(VENV)/.dist
	$(BIN)/python tools/make_dist.py

examples: build/examples/.installed
	build/examples/bin/python -m pytest -q -p no:cacheprovider --durations 0 examples $(if $(EXAMPLES),-k "$(EXAMPLES)")

build/examples/.installed: examples/requirements.txt pyproject.toml setup.py constraints.txt
	PYTHON="$(PYTHON)" sh tools/make-venv.sh build/examples
	build/examples/bin/python -m pip install --quiet -c constraints.txt -e ".[all]" -r examples/requirements.txt
	touch $@

$(BIN)/python:
	PYTHON="$(PYTHON)" sh tools/make-venv.sh $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml setup.py constraints.txt src/logcosh_vae/losses/log_cosh.c
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

$(VENV)/.dist: $(VENV)/.run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dist]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
