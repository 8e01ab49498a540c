"""Procedural problems: rules of many shapes in random worlds, with instructions and instances, verified."""
