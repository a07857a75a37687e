# `make demo` and `make test` do all of their own set-up: a virtual environment in .venv and the pinned packages.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed-$(shell cat requirements*.txt | cksum | cut -d' ' -f1)
FEDERATED_VENV ?= .venv-federated
FEDERATED_STAMP = $(FEDERATED_VENV)/.installed-$(shell cat requirements*.txt | cksum | cut -d' ' -f1)

.PHONY: demo test lint setup clean federated-setup federated-test
.DEFAULT_GOAL := help

help:
	@echo "make demo   phantoms, training, evaluation of all 15 subsets, report, inference: about 10 minutes on two CPU cores"
	@echo "make test   the whole test suite"
	@echo "make lint   style checks"
	@echo "make federated-test   three simulated sites on NVIDIA FLARE; Python 3.10 or 3.11 (PYTHON=python3.11)"

setup: $(STAMP)

# torch first: with it in place, the other packages do not pull another build of it
$(STAMP): requirements.txt requirements-torch.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m scripts.tools.demo --folder demo

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# an environment of its own: FLARE pins packages that nothing else here needs
federated-setup: $(FEDERATED_STAMP)

$(FEDERATED_STAMP): requirements.txt requirements-torch.txt requirements-dev.txt requirements-federated.txt
	$(PYTHON) -m venv $(FEDERATED_VENV)
	$(FEDERATED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(FEDERATED_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt \
	  -r requirements-dev.txt -r requirements-federated.txt
	@touch $@

federated-test: $(FEDERATED_STAMP)
	$(FEDERATED_VENV)/bin/python -m pytest tests_federated

clean:
	rm -rf $(VENV) $(FEDERATED_VENV) demo
