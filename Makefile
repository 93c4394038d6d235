# `make run` sets up and runs the service, `make test` sets up and runs the tests,
# `make bench` measures how fast it is and `make bench-accuracy` how right its answers are; both
# write benchmarks/README.md.
#
# The first `make run` also fetches the recognition models (280 MB, about a minute):
# `make run MODELS=` leaves them out, `make run MODELS="objects labels"` installs some.
PYTHON ?= python3
MODELS ?= default
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test audit check docs bench bench-accuracy openapi golden lock

run: $(VENV)/.run
	@BIN="$(BIN)" tools/models $(MODELS)
	@exec $(BIN)/ltu-compute serve --quickstart

test: check
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/pytest -n "$$(($$(nproc) + 1))" --dist worksteal # one more: tests wait for processes

check: $(VENV)/.test
	@PATH="$(abspath $(BIN)):$$PATH" tools/check

docs: $(VENV)/.test
	$(BIN)/sphinx-build -q -W --keep-going -c docs . build/docs
	@echo "open build/docs/docs/index.html"

bench: $(VENV)/.test
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed --write
	@$(BIN)/python -m benchmarks.speed.full_resolution --write

bench-accuracy: $(VENV)/.test
	@set -e; for each in differences alignment distance text recognition; do \
	    $(BIN)/python -m benchmarks.accuracy.$$each --write --save .data/benchmarks --jobs "$$(nproc)"; done

openapi: $(VENV)/.run
	$(BIN)/ltu-compute openapi

golden: $(VENV)/.test
	$(BIN)/pytest -q tests/test_golden.py tests/test_docs.py tests/test_comparison_page.py \
	    tests/test_analyze_page.py::test_pictures_of_the_page --update-golden

audit: $(VENV)/.run
	VENV="$(VENV)" tools/audit

lock: $(VENV)/.test
	VENV="$(VENV)" tools/lock

$(VENV)/.run $(VENV)/.test: setup.cfg constraints.txt tools/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" tools/setup $(patsubst .%,%,$(notdir $@))
