"""Paraphrases of descriptions and instructions, by a model or by hand, and the check of their faithfulness."""
