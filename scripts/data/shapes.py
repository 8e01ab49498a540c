"""The shapes of rules: what is left when names, variables, constants and numbers are taken out of the syntax tree.

A model composes what it has seen composed. The share of unseen rules whose shape occurs in training says how much of
their structure training shows.
"""

from __future__ import annotations
