"""Training: recipe, order of the rows, both engines, checkpoints, log and metrics."""
