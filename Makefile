# `make demo` and `make test` do all of their own set-up: a virtual environment in .venv and the pinned packages.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
REQUIREMENTS = requirements-torch.txt requirements.txt requirements-dev.txt
STAMP = $(VENV)/.installed-$(shell cat $(REQUIREMENTS) | cksum | cut -d' ' -f1)
PIP_INSTALL = python -m pip install --quiet --disable-pip-version-check
LABEL = .venv-label
LABEL_REQUIREMENTS = $(REQUIREMENTS) requirements-label.txt requirements-label-nodeps.txt
LABEL_STAMP = $(LABEL)/.installed-$(shell cat $(LABEL_REQUIREMENTS) | cksum | cut -d' ' -f1)

.PHONY: demo test label-setup label-test lint setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   phantoms, training, evaluation of all 15 subsets, report, inference: about 10 minutes on two CPU cores"
	@echo "make test   the whole test suite"
	@echo "make lint   style checks"
	@echo "make label-test   a MONAI Label server that serves this bundle, in an environment of its own (Python 3.10, 3.11)"

setup: $(STAMP)

# torch first: with it in place, the other packages do not pull another build of it
$(STAMP): $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) -r requirements-torch.txt
	$(BIN)/$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch $@

label-setup: $(LABEL_STAMP)

$(LABEL_STAMP): $(LABEL_REQUIREMENTS)
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/$(PIP_INSTALL) -r requirements-torch.txt
	$(LABEL)/bin/$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt -r requirements-label.txt
	$(LABEL)/bin/$(PIP_INSTALL) --no-deps -r requirements-label-nodeps.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m scripts.tools.demo --folder demo

test: $(STAMP)
	$(BIN)/python -m pytest

label-test: $(LABEL_STAMP)
	$(LABEL)/bin/python -m pytest tests_label

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(LABEL) demo
