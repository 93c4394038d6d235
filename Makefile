# `make run` sets up and runs the service, `make test` sets up and runs the tests,
# `make bench-accuracy` measures how right its answers are and writes benchmarks/README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check bench-accuracy openapi golden readme lock

run: $(VENV)/.run
	@MALLOC_ARENA_MAX=2 exec $(BIN)/ltu-compute serve --quickstart

test: check
	$(BIN)/pytest -n auto

check: $(VENV)/.test
	@PATH="$(abspath $(BIN)):$$PATH" tools/check

bench-accuracy: $(VENV)/.test
	@set -e; for each in differences alignment distance text recognition; do \
	    $(BIN)/python -m benchmarks.$$each --write --save .data/benchmarks --jobs "$$(nproc)"; done

openapi: $(VENV)/.run
	$(BIN)/ltu-compute openapi

golden: $(VENV)/.test
	$(BIN)/pytest -q tests/test_golden.py tests/test_readme.py tests/test_comparison_page.py --update-golden

lock: $(VENV)/.test
	VENV="$(VENV)" tools/lock

$(VENV)/.run $(VENV)/.test: setup.cfg constraints.txt tools/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" tools/setup $(patsubst .%,%,$(notdir $@))
