# All commands for contributors. They need python3 >= 3.11 and make, and write nothing outside this folder.

PYTHON ?= python3
PLUGINS := $(wildcard plugins/*/pyproject.toml)

VENV := .venv
BIN := $(VENV)/bin
PIP := python -m pip -qq --disable-pip-version-check
unexport PYTHONHOME PYTHONPATH # what is there would come before the packages of the environments

DEMO := .venv-demo
DEMO_PARTS := ".[rich]" $(addprefix plugins/,hpt-evaluator-sklearn hpt-sampler-bayes hpt-sampler-random hpt-stopping-basic hpt-store-sqlite)
DOCS := .venv-docs
LOWEST := .venv-lowest
# These compare with texts, internals, integrals or far tails of newer versions.
NOT_LOWEST := $(addprefix --deselect ,tests/test_docs.py::test_the_reference_is_what_the_code_says \
  tests/test_public_api.py::test_what_changed_in_the_public_api_is_in_the_changelog \
  plugins/hpt-sampler-tpe/tests/test_hpt_sampler_tpe_parzen.py::test_the_density_equals_optunas \
  plugins/hpt-stopping-folds/tests/test_hpt_stopping_folds_numerics.py::test_the_boundary_holds_for_the_smallest_error \
  plugins/hpt-stopping-folds/tests/test_hpt_stopping_folds_numerics.py::test_the_expected_gain_is_the_mean_of_what_is_above_zero)
BUILD_TOOLS := editables hatchling

.DEFAULT_GOAL := help
.PHONY: help demo setup setup-torch test test-lowest lint format docs clean

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO)/.stamp ## tune a classifier on the digits data; sets up .venv-demo, keeps the study in digits.db
	$(DEMO)/bin/hpt run examples/digits.toml
	@echo "(In this folder, run hpt as $(DEMO)/bin/hpt.)"

setup: $(VENV)/.stamp ## install the core, all plugins (editable) and the pinned tools into .venv

setup-torch: $(VENV)/.stamp ## add torch, Lightning and skorch to .venv, for tests that are otherwise skipped
	$(BIN)/$(PIP) install -c constraints.txt lightning skorch torch

test: $(VENV)/.stamp ## run the tests of the core and all plugins, in two processes (ARGS="-k store" for some)
	@$(BIN)/python -m compileall -q hpt_core plugins/*/src # otherwise each process that a test starts may compile them again
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-lowest: $(LOWEST)/.stamp ## run the tests with the lowest versions that the distributions allow (needs Python 3.11 or 3.12)
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal $(NOT_LOWEST) $(ARGS)

lint: $(VENV)/.stamp ## check style, formatting, types and layering; change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.stamp ## format all files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS)/.stamp ## build the documentation into site/; sets up .venv-docs
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs -q build --strict
	@echo "Built site/index.html."

clean: ## remove environments, caches and build results; keep studies
	rm -rf $(VENV) $(DEMO) $(DOCS) $(LOWEST) .*_cache .hypothesis build dist site
	find . -type d \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +

$(VENV)/.stamp: pyproject.toml constraints.txt requirements-dev.txt $(PLUGINS)
	$(call make_venv,$(VENV))
	@echo "Installing the core, all plugins and the tools into $(VENV) (once, about a minute) ..."
	@$(BIN)/$(PIP) install -c constraints.txt $(BUILD_TOOLS)
	@$(BIN)/$(PIP) install --no-build-isolation -r requirements-dev.txt
	@touch $@

$(DEMO)/.stamp: pyproject.toml constraints.txt $(PLUGINS)
	$(call make_venv,$(DEMO))
	@echo "Installing hpt, five plugins, numpy, scipy and scikit-learn into $(DEMO) (once, about a minute) ..."
	@$(DEMO)/bin/$(PIP) install -c constraints.txt $(BUILD_TOOLS)
	@$(DEMO)/bin/$(PIP) install --no-build-isolation -c constraints.txt $(addprefix -e ,$(DEMO_PARTS))
	@touch $@

$(DOCS)/.stamp: requirements-docs.txt
	$(call make_venv,$(DOCS))
	@echo "Installing mkdocs and its theme into $(DOCS) (once, a few seconds) ..."
	@$(DOCS)/bin/$(PIP) install -r requirements-docs.txt
	@touch $@

$(LOWEST)/.stamp: pyproject.toml requirements-dev.txt $(PLUGINS)
	$(call make_venv,$(LOWEST))
	@echo "Installing the core and all plugins with their lowest dependencies into $(LOWEST) (once, some minutes) ..."
	@grep -ohE '"[A-Za-z0-9_-]+(\[[a-z]+\])?>=[0-9.]+' pyproject.toml $(PLUGINS) | sed 's/"//; s/\[.*\]//; s/>=/==/; /^hpt-/d' | sort -u >$(LOWEST)/constraints.txt
	@grep -v '^-c' requirements-dev.txt >$(LOWEST)/requirements.txt
	@$(LOWEST)/bin/$(PIP) install -c $(LOWEST)/constraints.txt $(BUILD_TOOLS)
	@$(LOWEST)/bin/$(PIP) install --no-build-isolation -c $(LOWEST)/constraints.txt -r $(LOWEST)/requirements.txt
	@touch $@

# Make an environment if there is none. If ensurepip is missing (Debian without python3-venv), the pip of $(PYTHON)
# installs into it.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "hpt needs Python 3.11 or newer, and '$(PYTHON)' is older or missing. Name another one, as in 'make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12'." >&2; \
	    exit 1; }
	@test -x $(1)/bin/pip || { \
	    echo "Making the environment $(1) ..."; \
	    $(PYTHON) -m venv --clear $(1) >/dev/null 2>&1 || { \
	        $(PYTHON) -m venv --clear --without-pip $(1) && \
	        $(PYTHON) -m pip -qq --python $(1)/bin/python install pip; \
	    } || { \
	        echo "Cannot make an environment with '$(PYTHON) -m venv'. Install your system's package python3-venv." >&2; \
	        exit 1; }; }
endef
