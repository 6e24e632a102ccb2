"""Fuzzing of what reads bytes from strangers."""

NAMES = ("head", "chunked", "query")
"""The targets (`targets.py`); known here, so that atheris can watch their modules being imported."""
