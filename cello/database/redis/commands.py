"""The commands, written once for both colours and for pipelines: each says what to send and how to read the answer.

Keys get the prefix of the config here, and lose it where they come back. Text is UTF-8 both ways; bytes that are none
survive as surrogates, and `get_bytes` returns them as they are.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from cello.database.errors import RedisError

Value = str | bytes | int | float
Ttl = float | timedelta
Read = Callable[[Any], Any]

# Commands that change nothing may be sent again after a connection broke.
HARMLESS = frozenset(
    ("EXISTS", "GET", "HGET", "HGETALL", "LLEN", "LRANGE", "MGET", "PING", "SISMEMBER", "SMEMBERS", "TTL", "PTTL")
)


class Commands(ABC):
    """Commands to one Redis. What they return stands in each one's first line; in `async def` it must be awaited."""

    _prefix: str
    _default_ttl: float | None

    @abstractmethod
    def _send(self, *words: Any, read: Read | None = None) -> Any:
        """Send a command; return its answer, as `read` makes of it."""

    def command(self, *words: Value) -> Any:
        """Send any command, as it is: no prefix is added; return its answer."""
        return self._send(*words)

    def ping(self) -> Any:
        """Return True when the server answers."""
        return self._send("PING", read=bool)

    # Values

    def get(self, key: str) -> Any:
        """Return the value of a key as text, or None."""
        return self._send("GET", self._key(key), read=_text)

    def get_bytes(self, key: str) -> Any:
        """Return the value of a key as bytes, or None."""
        return self._send("GET", self._key(key), read=_bytes)

    def set(
        self,
        key: str,
        value: Value,
        ttl: Ttl | None = None,
        *,
        ex: Ttl | None = None,
        px: int | None = None,
        nx: bool = False,
        xx: bool = False,
        keep_ttl: bool = False,
    ) -> Any:
        """Set a key; return whether it was set.

        Args:
            key: The key.
            value: Text, bytes or a number.
            ttl: Seconds it lives; None: `RedisConfig.default_ttl`.
            ex: The same as `ttl`.
            px: Milliseconds it lives.
            nx: Only where there is none.
            xx: Only where there is one.
            keep_ttl: It lives as long as the one before.
        """
        given = [each for each in (ttl, ex, px) if each is not None]
        if len(given) + keep_ttl > 1 or (nx and xx):
            raise RedisError("set() takes one of ttl, ex, px and keep_ttl, and one of nx and xx")
        words: list[Any] = ["SET", self._key(key), value]
        if keep_ttl:
            words.append("KEEPTTL")
        elif px is not None:
            words += ("PX", px)
        else:
            words += _expiry(given[0] if given else self._default_ttl)
        words += ["NX"] * nx + ["XX"] * xx
        return self._send(*words, read=bool)

    def setex(self, key: str, ttl: Ttl, value: Value) -> Any:
        """Set a key that lives `ttl` seconds; return True."""
        return self.set(key, value, ttl)

    def mget(self, *keys: str | Iterable[str]) -> Any:
        """Return the values of several keys, None for those that are not there."""
        return self._send("MGET", *self._keys(keys), read=lambda found: [_text(each) for each in found])

    def delete(self, *keys: str | Iterable[str]) -> Any:
        """Delete keys; return how many there were."""
        return self._send("DEL", *self._keys(keys))

    def exists(self, *keys: str | Iterable[str]) -> Any:
        """Return how many of the keys there are."""
        return self._send("EXISTS", *self._keys(keys))

    def expire(self, key: str, ttl: Ttl) -> Any:
        """Have a key live `ttl` seconds from now; return whether it is there."""
        return self._send("PEXPIRE", self._key(key), _milliseconds(ttl), read=bool)

    def ttl(self, key: str) -> Any:
        """Return the seconds a key has left, -1 without an end, -2 when it is not there."""
        return self._send("TTL", self._key(key))

    def incr(self, key: str, amount: int = 1) -> Any:
        """Add to a number; return the sum."""
        return self._send("INCRBY", self._key(key), amount)

    incrby = incr

    def decr(self, key: str, amount: int = 1) -> Any:
        """Take from a number; return the difference."""
        return self._send("DECRBY", self._key(key), amount)

    decrby = decr

    # Hashes

    def hset(
        self, key: str, field: str | Mapping[str, Value] | None = None, value: Value | None = None, **fields: Value
    ) -> Any:
        """Set fields of a hash, by name and value, by a mapping, or by keywords; return how many are new."""
        pairs: dict[str, Value] = dict(field) if isinstance(field, Mapping) else {}
        if isinstance(field, str):
            if value is None:
                raise RedisError(f"hset(): field {field!r:.80} has no value")
            pairs[field] = value
        pairs.update(fields)
        if not pairs:
            raise RedisError("hset() needs a field")
        return self._send("HSET", self._key(key), *(word for pair in pairs.items() for word in pair))

    def hget(self, key: str, field: str) -> Any:
        """Return a field of a hash, or None."""
        return self._send("HGET", self._key(key), field, read=_text)

    def hdel(self, key: str, *fields: str) -> Any:
        """Delete fields of a hash; return how many there were."""
        return self._send("HDEL", self._key(key), *fields)

    def hgetall(self, key: str) -> Any:
        """Return a hash as a dict, empty when there is none."""
        return self._send("HGETALL", self._key(key), read=_dict)

    # Lists

    def lpush(self, key: str, *values: Value) -> Any:
        """Put values before the first of a list; return its length."""
        return self._send("LPUSH", self._key(key), *values)

    def rpush(self, key: str, *values: Value) -> Any:
        """Put values behind the last of a list; return its length."""
        return self._send("RPUSH", self._key(key), *values)

    def lpop(self, key: str) -> Any:
        """Take the first value of a list, or None."""
        return self._send("LPOP", self._key(key), read=_text)

    def rpop(self, key: str) -> Any:
        """Take the last value of a list, or None."""
        return self._send("RPOP", self._key(key), read=_text)

    def llen(self, key: str) -> Any:
        """Return the length of a list."""
        return self._send("LLEN", self._key(key))

    def lrange(self, key: str, start: int = 0, stop: int = -1) -> Any:
        """Return the values of a list from `start` to `stop`, both included; -1 is the last."""
        return self._send("LRANGE", self._key(key), start, stop, read=_texts)

    # Sets

    def sadd(self, key: str, *values: Value) -> Any:
        """Add values to a set; return how many are new."""
        return self._send("SADD", self._key(key), *values)

    def srem(self, key: str, *values: Value) -> Any:
        """Take values from a set; return how many there were."""
        return self._send("SREM", self._key(key), *values)

    def smembers(self, key: str) -> Any:
        """Return a set."""
        return self._send("SMEMBERS", self._key(key), read=lambda found: set(_texts(found)))

    def sismember(self, key: str, value: Value) -> Any:
        """Return whether a value is in a set."""
        return self._send("SISMEMBER", self._key(key), value, read=bool)

    # Messages and scripts

    def publish(self, channel: str, message: Value) -> Any:
        """Send a message to who listens now; return how many that are, on this node."""
        return self._send("PUBLISH", self._key(channel), message)

    def eval(self, script: str, keys: Sequence[str] = (), args: Sequence[Value] = ()) -> Any:
        """Run a Lua script; return what it returns, its text as text."""
        return self._send("EVAL", script, len(keys), *self._keys(keys), *args, read=_answer)

    def evalsha(self, sha: str, keys: Sequence[str] = (), args: Sequence[Value] = ()) -> Any:
        """Run a Lua script that was loaded; return what it returns."""
        return self._send("EVALSHA", sha, len(keys), *self._keys(keys), *args, read=_answer)

    def script_load(self, script: str) -> Any:
        """Load a Lua script; return its name for `evalsha`."""
        return self._send("SCRIPT LOAD", script, read=_text)

    # Inside

    def _key(self, key: str) -> str:
        if not isinstance(key, str):
            raise RedisError(f"a key is text, not {key!r:.80}")
        return self._prefix + key

    def _keys(self, keys: Iterable[Any]) -> list[str]:
        found = [key for each in keys for key in ([each] if isinstance(each, str) else each)]
        return [self._key(key) for key in found]

    def _bare(self, key: bytes | str) -> str:
        """Return a key that came back, without the prefix."""
        text = key if isinstance(key, str) else _text(key)
        return text.removeprefix(self._prefix)


def _expiry(ttl: Ttl | None) -> tuple[()] | tuple[str, int]:
    if ttl is None:
        return ()
    milliseconds = _milliseconds(ttl)
    return ("PX", milliseconds) if milliseconds % 1000 else ("EX", milliseconds // 1000)


def _milliseconds(ttl: Ttl) -> int:
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool | str) or not 0 < seconds < math.inf:
        raise RedisError(f"a ttl is a number of seconds above 0, or a timedelta, not {ttl!r:.80}")
    return max(1, round(seconds * 1000))


def _text(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _bytes(value: Any) -> Any:
    return value


def _texts(values: Iterable[Any]) -> list[Any]:
    return [_text(each) for each in values]


def _dict(found: Any) -> dict[str, Any]:
    if not isinstance(found, Mapping):  # flat, as older protocols and pipelines have it
        found = dict(zip(found[::2], found[1::2], strict=True))
    return {_text(name): _text(value) for name, value in found.items()}


def _answer(value: Any) -> Any:
    return [_answer(each) for each in value] if isinstance(value, list) else _text(value)
