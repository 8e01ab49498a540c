"""Evaluation: the solver grades what a model writes."""
