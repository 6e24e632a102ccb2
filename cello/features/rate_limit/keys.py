"""Whose requests are counted together."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from cello.errors import ConfigError
from cello.http.request import Request

KeyFunction = Callable[[Request], Any]
USER_FIELDS = ("id", "sub", "user_id", "username", "name")
"""Where a user's id is looked for, in this order; the last is what Basic and API keys leave."""


def make_key(key_by: str | KeyFunction) -> tuple[KeyFunction, bool]:
    """Return a function that gives a request's key or None, and whether it needs to know the user (or may)."""
    if callable(key_by):
        if inspect.iscoroutinefunction(key_by):
            raise ConfigError(
                f"the key function {key_by!r:.80} is async; put what it finds into request.context in a middleware or "
                "guard, and return it from a plain function"
            )
        return key_by, True
    if key_by == "ip":
        return by_ip, False
    if key_by == "user":
        return by_user, True
    name = key_by.partition(":")[2].strip()
    encoded = name.lower().encode("latin-1")

    def by_header(request: Request) -> str:
        value = request._head.get(encoded)
        return by_ip(request) if value is None else f"{name}={value.decode('latin-1')}"

    return by_header, False


def by_ip(request: Request) -> str:
    """Return the client's address; an IPv6 client is its network.

    SECURITY: whoever has an IPv6 address has 2**64 of them, so single ones would not limit anybody.
    """
    address = request.remote_addr if request._memo is None else str(request.client_ip)
    return network_of(address) if ":" in address else address


def by_user(request: Request) -> str:
    """Return the id of the user who signed in, else the client's address."""
    user = request.get_context("user")
    if user is None:
        return by_ip(request)
    if isinstance(user, str | int):
        return f"user={user}"
    for name in USER_FIELDS:
        found = user.get(name) if isinstance(user, dict) else getattr(user, name, None)
        if found is not None:
            return f"user={found}"
    return by_ip(request)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the /64 network of an IPv6 address, or the IPv4 address that it stands for."""
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
