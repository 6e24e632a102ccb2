"""Measurements: what is claimed about speed is a file here and a dated result in `results/`. See README.md."""
