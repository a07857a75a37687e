# `make demo` and `make test` do all of their own set-up: a virtual environment in .venv and the pinned packages.
# `make label-test` and `make federated-test` have environments of their own, whose packages nothing else here needs.
PYTHON ?= python3
VENV ?= .venv
# processes of `make test`, one thread each
WORKERS ?= 2
# threads that wait sleep soon, so that others get the cores (docs/reference/performance.md); unless you have chosen how they wait
ifeq ($(origin OMP_WAIT_POLICY),undefined)
export GOMP_SPINCOUNT ?= 10000
endif
BIN = $(VENV)/bin
PIP_INSTALL = python -m pip install --quiet --disable-pip-version-check
REQUIREMENTS = requirements-torch.txt requirements.txt requirements-dev.txt
TEST_REQUIREMENTS = $(REQUIREMENTS) requirements-dicom.txt
STAMP = $(VENV)/.installed-$(shell cat $(TEST_REQUIREMENTS) | cksum | cut -d' ' -f1)
LABEL = .venv-label
LABEL_REQUIREMENTS = $(REQUIREMENTS) requirements-label.txt requirements-label-nodeps.txt
LABEL_STAMP = $(LABEL)/.installed-$(shell cat $(LABEL_REQUIREMENTS) | cksum | cut -d' ' -f1)
FEDERATED = .venv-federated
FEDERATED_REQUIREMENTS = $(REQUIREMENTS) requirements-federated.txt
FEDERATED_STAMP = $(FEDERATED)/.installed-$(shell cat $(FEDERATED_REQUIREMENTS) | cksum | cut -d' ' -f1)
INSTALLED = .venv-install

.PHONY: demo test long-test export-test figures-test setup-prepare install-test lint setup clean label-setup label-test federated-setup federated-test
.DEFAULT_GOAL := help

help:
	@echo "make demo   phantoms, training, evaluation of all 15 subsets, report, inference: about 10 minutes on two CPU cores"
	@echo "make test   the test suite, but for:"
	@echo "make long-test        the longest tests, three minutes; continuous integration runs both"
	@echo "make lint   style and types"
	@echo "make setup-prepare    what raw series need: registration and brain extraction (300 MB)"
	@echo "make export-test      every network exported as ONNX, minutes each"
	@echo "make figures-test     commands that make figures of documents, on one phantom"
	@echo "make install-test     the package installed in a fresh environment, used from another folder"
	@echo "make label-test       a MONAI Label server that serves this bundle (Python 3.10 or 3.11: PYTHON=python3.11)"
	@echo "make federated-test   three simulated sites on NVIDIA FLARE (likewise)"

setup: $(STAMP)

# said before pip says it in its own way
PYTHON_WORDS = This needs Python 3.10 to 3.13, and $(PYTHON) is {}.{}. Name another one: make PYTHON=python3.11 ...
CHECK_PYTHON = $(PYTHON) -c "import sys; v = sys.version_info[:2]; \
  sys.exit(None if (3, 10) <= v < (3, 14) else '$(PYTHON_WORDS)'.format(*v))"

# torch first: with it in place, the other packages do not pull another build of it
$(STAMP): $(TEST_REQUIREMENTS)
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP_INSTALL) -r requirements-torch.txt
	$(BIN)/$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt -r requirements-dicom.txt
	$(BIN)/$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

setup-prepare: $(STAMP)
	$(BIN)/$(PIP_INSTALL) -r requirements-prepare.txt

label-setup: $(LABEL_STAMP)

$(LABEL_STAMP): $(LABEL_REQUIREMENTS)
	$(PYTHON) -m venv $(LABEL)
	$(LABEL)/bin/$(PIP_INSTALL) -r requirements-torch.txt
	$(LABEL)/bin/$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt -r requirements-label.txt
	$(LABEL)/bin/$(PIP_INSTALL) --no-deps -r requirements-label-nodeps.txt
	@touch $@

federated-setup: $(FEDERATED_STAMP)

$(FEDERATED_STAMP): $(FEDERATED_REQUIREMENTS)
	$(PYTHON) -m venv $(FEDERATED)
	$(FEDERATED)/bin/$(PIP_INSTALL) -r requirements-torch.txt
	$(FEDERATED)/bin/$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt -r requirements-federated.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m scripts.tools.demo --folder demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

long-test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m long

export-test: $(STAMP)
	$(BIN)/python -m pytest -m exports

figures-test: $(STAMP)
	$(BIN)/python -m pytest -m figures

# not editable, and anew each time: what is tested is what `pip install` leaves
install-test: $(STAMP)
	rm -rf $(INSTALLED)
	$(PYTHON) -m venv $(INSTALLED)
	$(INSTALLED)/bin/$(PIP_INSTALL) -r requirements-torch.txt
	$(INSTALLED)/bin/$(PIP_INSTALL) .
	INSTALLED=$(CURDIR)/$(INSTALLED) $(BIN)/python -m pytest tests_install

label-test: $(LABEL_STAMP)
	$(LABEL)/bin/python -m pytest tests_label

federated-test: $(FEDERATED_STAMP)
	$(FEDERATED)/bin/python -m pytest tests_federated

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf $(VENV) $(LABEL) $(FEDERATED) $(INSTALLED) demo
