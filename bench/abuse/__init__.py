"""Clients that abuse the own server, one limit each; `python -m bench.abuse`, and scaled down in tests/integration."""
