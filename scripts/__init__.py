"""The method, one module a concern; `README.md` has the map."""
