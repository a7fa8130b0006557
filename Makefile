# Needs Python 3.11 or newer, git and make. Everything else goes into .venv-X.Y beside this file.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv-$(VERSION)
BIN := $(VENV)/bin

# Each of the many sessions that tests and benchmarks run would compile pytest's plugins anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check docs bench clean

demo: $(VENV)/.ready
	@$(BIN)/python examples/demo.py

test: $(VENV)/.ready
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory docs

docs: $(VENV)/.ready
	$(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv-* benchmarks/.venv-* benchmarks/.libraries site build dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks -type d \( -name __pycache__ -o -name .hypothesis -o -name .pytest_cache \) -prune -exec rm -rf {} +

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pytest-interleave needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.13" % sys.version.split()[0])'
	@echo "Making $(VENV), with what demo, tests and checks need: about half a minute, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
