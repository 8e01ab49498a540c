"""Importers: problem sets of other people, from a folder that the user fetched into our layout."""
