"""Tools for maintainers: speed measurements, the publication of notebooks, the module map."""

import scripts  # noqa: F401 - silences a warning of bitsandbytes before a tool imports it
