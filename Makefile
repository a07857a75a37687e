# `make demo` and `make test` do all of their own set-up: a virtual environment in .venv and the pinned packages.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed-$(shell cat requirements*.txt | cksum | cut -d' ' -f1)

.PHONY: demo test export-test lint setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   phantoms, training, evaluation of all 15 subsets, report, inference: about 10 minutes on two CPU cores"
	@echo "make test   the whole test suite"
	@echo "make export-test   every network exported as ONNX"
	@echo "make lint   style checks"

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

export-test: $(STAMP)
	$(BIN)/python -m pytest -m exports

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) demo
