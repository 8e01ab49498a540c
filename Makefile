# Each target does its own set-up. Without make: the commands below are the whole of it (README, "Without make").
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PROFILE ?= demo

.PHONY: setup demo test notebooks check clean

$(VENV)/.installed: requirements_ft.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "Python 3.11 or 3.12 is needed; name one: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements_ft.txt
	touch $@

setup: $(VENV)/.installed

demo: setup          # paraphrases -> data -> QLoRA -> fuse -> scores before and after, in twenty to thirty minutes on two cores
	$(BIN)/python -m scripts.run_notebooks --profile $(PROFILE) --resume

test: setup          # unit tests on real inputs, then all four notebooks with the smoke profile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests
	FT_PROFILE=smoke FT_WORKDIR=$$(mktemp -d) $(BIN)/python -m pytest -q -x --nbval-lax --current-env notebooks

notebooks: setup     # run the notebooks of a profile and put their outputs into the committed ones
	$(BIN)/python -m scripts.run_notebooks --profile $(PROFILE) --resume
	$(BIN)/python -m tools.publish_notebooks --profile $(PROFILE)

check: setup         # the shipped problems through the gate
	$(BIN)/python -m scripts.benchmarks check data/benchmarks

clean:               # everything generated but base models and paraphrases, which may have cost money
	rm -rf runs adapters/* adapters/.tokens local_models/ft_* data/*.jsonl data/report.json data/smoke data/own_errors
