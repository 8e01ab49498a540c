# Each target does its own set-up. Without make: the commands below are the whole of it (README, "Without make").
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PROFILE ?= demo

.PHONY: setup demo test check bench notebooks clean

$(VENV)/.installed: requirements_ft.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements_ft.txt
	touch $@

setup: $(VENV)/.installed

demo: setup          # paraphrases -> data -> QLoRA -> fuse -> scores before and after, in at most 30 minutes on two cores
	$(BIN)/python -m scripts.run_notebooks --profile $(PROFILE) --resume

test: setup          # unit tests on real inputs, then all four notebooks with the smoke profile
	$(BIN)/python -m pytest -q tests
	FT_PROFILE=smoke FT_WORKDIR=$$(mktemp -d) $(BIN)/python -m pytest -q -x --nbval-lax --current-env notebooks

check: setup         # the shipped problems through the gate
	$(BIN)/python -m scripts.benchmarks check data/benchmarks

clean:               # everything generated but the base models
	rm -rf runs adapters/* local_models/ft_* data/*.jsonl data/report.json data/smoke
