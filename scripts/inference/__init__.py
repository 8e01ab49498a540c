"""Writing programs with a model: decoding, the repair loop, the vote."""
