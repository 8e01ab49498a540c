"""The recipe, the rows as tokens, and the two training engines."""
