"""Procedural problems: random rules in random worlds, with instructions, instances and a verified encoding."""
