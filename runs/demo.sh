#!/usr/bin/env bash
# The whole pipeline, one command for each step. Run it after `make setup`:
#
#     runs/demo.sh            the profile demo: SmolLM2-135M, about 25 minutes on 2 CPU cores
#     runs/demo.sh smoke      a tiny random model that learns nothing, to try the commands
#
# The notebooks do the same and show more. If it is interrupted, run it again: training and scores resume.
set -euo pipefail
cd "$(dirname "$0")/.."
export FT_PROFILE=${1:-demo}
PROBLEMS=${PROBLEMS:-data/benchmarks}    # a folder of problems
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${FT_WORKDIR:-.}                    # where data, adapters and models are written
# From the profile: the base model, how many test problems to score, and the largest number of tokens of an answer.
read -r MODEL SCORED TOKENS < <($PYTHON -c 'from scripts.training.recipe import load_profile as load
print(load().model_type, load().test_problems or 1000, load().max_new_tokens)')
OUT=$WORK/runs/$FT_PROFILE
mkdir -p "$OUT"

# 1. Check the problems: every rule has an instruction, and without it the answer sets of some instance change.
$PYTHON -m scripts.benchmarks check "$PROBLEMS"

# 2. Paraphrase the descriptions of the training problems. `shipped` checks the hand-written paraphrases.
$PYTHON -m scripts.data_augmentor --benchmarks "$PROBLEMS" --provider shipped

# 3. Convert the problems to training rows: renamed, with noise, with broken rules to repair; all checked by clingo.
$PYTHON -m scripts.data_converter --benchmarks "$PROBLEMS"

# 4. Train LoRA adapters. Checkpoints, log and metrics are in adapters/; the one with the lowest loss is fused.
$PYTHON -m scripts.train_pytorch --model-type "$MODEL"

# 5. Choose a checkpoint: score each one on validation problems.
$PYTHON -m scripts.evaluate --run "$WORK/adapters/${MODEL}_pytorch" --benchmarks "$PROBLEMS" --problems 6 \
    --max-new-tokens "$TOKENS"

# 6. Fuse the checkpoint with the best score with its base model, into an ordinary model folder.
$PYTHON -m scripts.fuse --model-type "$MODEL" --step best

# 7. Evaluate the base model and the fused model on test problems, the latter also with the repair loop.
FUSED=$WORK/local_models/ft_${MODEL}_pytorch
TEST=(--benchmarks "$PROBLEMS" --split test --problems "$SCORED" --max-new-tokens "$TOKENS")
$PYTHON -m scripts.evaluate --model "$WORK/local_models/$MODEL" "${TEST[@]}" --parts steps --out "$OUT/base.json"
$PYTHON -m scripts.evaluate --model "$FUSED" "${TEST[@]}" --parts steps,loop,repair --k 1,3 --out "$OUT/fused.json"

# 8. Generate a program for the instructions of a test problem, with the repair loop. Exit code 1: some step failed.
EXAMPLE=$PROBLEMS/scheduling/scene_order
sed -n 's/^% //p' "$EXAMPLE/encoding.lp" > "$OUT/steps.txt"
$PYTHON -m scripts.generate --model "$FUSED" --problem "$EXAMPLE/problem.md" --steps "$OUT/steps.txt" \
    --instance "$EXAMPLE/instances/four_scenes.lp" --max-new-tokens "$TOKENS" --out "$OUT/program.lp" || test $? = 1
