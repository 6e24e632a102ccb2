"""Fixtures of the tests of buses: every kind of database."""

from tests.database.conftest import kind, server_urls, table, url

__all__ = ["kind", "server_urls", "table", "url"]
