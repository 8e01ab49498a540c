"""Scores that the solver gives."""
