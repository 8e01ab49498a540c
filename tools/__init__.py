"""Maintainers' tools: speed measurements and the publication of notebooks."""
