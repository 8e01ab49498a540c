"""Paraphrases of descriptions and instructions, by a model or by hand, and their check for faithfulness."""
