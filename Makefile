# Two commands from a fresh clone: `make study` and `make test`. Both set up `.venv` first where it is missing or stale.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/reference
ARGS ?=

.PHONY: setup study check test test-slow bench

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11" >&2; echo "  fix: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

study: setup
	$(BIN)/layerlimits study reference --out $(OUT) $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread a process: pytest runs one process a core.
test: check
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-slow: setup
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n auto --dist worksteal -m slow $(ARGS)

# Some 15 minutes, and 5 GB in the folder for temporary files; results are kept in bench/RESULTS.md.
bench: setup
	$(BIN)/python bench/ranking.py
	$(BIN)/python bench/prune.py
