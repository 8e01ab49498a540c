"""Writing programs: decoding, and the solver in the loop."""
