"""The shapes of rules: their syntax trees without names, variables, constants and numbers.

A model composes what it has seen composed. The share of unseen rules whose shape occurs in training says how
much of their structure training shows.
"""

from __future__ import annotations
