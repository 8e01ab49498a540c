# Each target installs what it needs. Without make: docs/install.md.
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

demo: setup          # the notebooks: paraphrases, data, training, fusing, scores; 20 to 30 minutes on two cores
	$(BIN)/python -m scripts.run_notebooks --profile $(PROFILE) --resume

test: setup          # all tests, then all notebooks with the smoke profile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests
	FT_PROFILE=smoke FT_WORKDIR=$$(mktemp -d) $(BIN)/python -m pytest -q -x --nbval-lax --current-env notebooks

notebooks: setup     # run the notebooks and copy their outputs into the committed ones
	$(BIN)/python -m scripts.run_notebooks --profile $(PROFILE) --resume
	$(BIN)/python -m tools.publish_notebooks --profile $(PROFILE)

check: setup         # check the shipped problems
	$(BIN)/python -m scripts.benchmarks check data/benchmarks

clean:               # delete what was generated, except base models and paraphrases
	find runs -mindepth 1 -maxdepth 1 ! -name demo.sh -exec rm -rf {} +
	rm -rf adapters/* adapters/.tokens local_models/ft_* data/train.jsonl data/valid.jsonl data/test.jsonl data/report.json data/smoke data/own_errors data/preferences data/generated
