"""The forms of URLs, and what a config refuses."""

import subprocess
import sys
from typing import Any

import pytest

from cello import ConfigError, DatabaseConfig, MissingDependency
from cello.database.sql.address import Address

FORMS: dict[str, tuple[str, str, str, str]] = {
    "sqlite, the contract's form": ("sqlite://cello.db", "sqlite", "cello.db", ""),
    "sqlite, in a folder": ("sqlite://data/cello.db", "sqlite", "data/cello.db", ""),
    "sqlite, SQLAlchemy's form": ("sqlite:///cello.db", "sqlite", "cello.db", ""),
    "sqlite, absolute": ("sqlite:////srv/cello.db", "sqlite", "/srv/cello.db", ""),
    "sqlite, with a driver": ("sqlite+aiosqlite:///cello.db", "sqlite", "cello.db", ""),
    "sqlite, short": ("sqlite:cello.db", "sqlite", "cello.db", ""),
    "memory": ("sqlite://:memory:", "sqlite", ":memory:", ""),
    "memory, SQLAlchemy's form": ("sqlite:///:memory:", "sqlite", ":memory:", ""),
    "memory, empty": ("sqlite://", "sqlite", ":memory:", ""),
    "postgresql": ("postgresql://user:pass@localhost/mydb", "postgresql", "mydb", "localhost:5432"),
    "postgres": ("postgres://user@db:6543/mydb", "postgresql", "mydb", "db:6543"),
    "postgresql, with a driver": ("postgresql+asyncpg://db/mydb", "postgresql", "mydb", "db:5432"),
    "mysql": ("mysql://root@localhost/shop", "mysql", "shop", "localhost:3306"),
    "mariadb": ("mariadb+pymysql://root@[::1]:3307/shop", "mysql", "shop", "::1:3307"),
    "a socket": ("postgresql://user@/mydb?host=/run/postgresql", "postgresql", "mydb", "/run/postgresql:5432"),
}


@pytest.mark.parametrize(("url", "kind", "database", "where"), FORMS.values(), ids=FORMS.keys())
def test_every_form_of_url_is_understood(url: str, kind: str, database: str, where: str) -> None:
    address = Address.of(DatabaseConfig(url))
    assert (address.kind, address.database) == (kind, database)
    assert where in ("", f"{address.host}:{address.port}")


def test_what_is_encoded_in_a_url_is_decoded() -> None:
    config = DatabaseConfig.postgres(user="a@b", password="p/w:%", database="my db", host="::1", port=1234)
    address = Address.of(config)
    assert (address.user, address.password, address.database) == ("a@b", "p/w:%", "my db")
    assert (address.host, address.port) == ("::1", 1234)


def test_the_presets_are_configs() -> None:
    assert DatabaseConfig.local(pool_size=3).pool_size == 3
    assert Address.of(DatabaseConfig.local()).safe_url == "postgresql://postgres@127.0.0.1:5432/postgres"


def test_a_password_is_never_shown() -> None:
    config = DatabaseConfig("postgresql://user:secret@localhost/mydb")
    assert "secret" not in repr(config) + Address.of(config).safe_url
    with pytest.raises(ConfigError) as caught:
        DatabaseConfig("oracle://user:secret@localhost/mydb")
    assert "secret" not in str(caught.value)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown scheme": ({"url": "oracle://x"}, "must begin with"),
    "no scheme": ({"url": "cello.db"}, "must begin with"),
    "a port that is none": ({"url": "postgresql://localhost:x/y"}, "[Pp]ort"),
    "no connections": ({"url": "sqlite://", "pool_size": 0}, "pool_size"),
    "an unknown field": ({"url": "sqlite://", "poolsize": 1}, "pool_size"),
    "an sslmode that is none": ({"url": "postgresql://x/y", "sslmode": "yes"}, "sslmode"),
    "TLS for a file": ({"url": "sqlite://", "sslmode": "require"}, "sslmode means nothing to SQLite"),
    "a name for a file": ({"url": "sqlite://", "application_name": "x"}, "application_name means nothing to SQLite"),
    "a mode that MySQL lacks": ({"url": "mysql://x/y", "sslmode": "prefer"}, "for MySQL"),
    "a url that is none": ({"url": 7}, "url must be"),
}


@pytest.mark.parametrize(("fields", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DatabaseConfig(**fields)


def test_a_driver_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for url, extra in (("postgresql://x/y", "postgres"), ("mysql://x/y", "mysql")):
        with pytest.raises(MissingDependency, match=rf"pip install 'cello\[{extra}\]'"):
            Address.of(DatabaseConfig(url)).require_driver("enable_database")
    Address.of(DatabaseConfig("sqlite://")).require_driver("enable_database")


def test_the_names_of_the_package_load_no_driver_and_no_sqlalchemy() -> None:
    code = (
        "import sys; import cello.database; cello.database.DatabaseConfig('postgresql://a/b'); "
        "from cello.database import Database; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert {"sqlalchemy", "asyncpg", "aiomysql", "redis", "aiosqlite"}.isdisjoint(loaded.stdout.split())
