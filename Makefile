# Two commands are all a newcomer needs: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Where continuous integration keeps the real data sets; elsewhere set LEHR_DATA, or tests that need them are skipped.
export LEHR_DATA ?= $(if $(wildcard ../shared/data),$(abspath ../shared/data),)
ifeq ($(LEHR_DATA),)
unexport LEHR_DATA
endif

.PHONY: demo test test-long lint types rooms unit bench format clean

demo: $(STAMP)
	$(BIN)/lehr demo --out demo

test: lint types rooms unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

rooms: $(STAMP)
	$(BIN)/lint-imports --no-logo

unit: $(STAMP)
	$(BIN)/pytest -m "not long" --numprocesses 2 --dist loadfile

# Kill storms and the like, then an hour of fuzzing with the compiled part under sanitizers; MINUTES=5 for less.
test-long: $(STAMP)
	$(BIN)/pytest -m long --timeout 3600
	$(BIN)/python -m tests.fuzz.sanitized --minutes $(or $(MINUTES),60)

bench: $(STAMP)
	$(BIN)/python benchmarks/step_overhead.py
	$(BIN)/python benchmarks/engine.py --against torch,onnxruntime

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
