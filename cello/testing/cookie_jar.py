"""The cookies of a test client: what a browser would keep and send back."""

import time
from collections.abc import Iterator, MutableMapping
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie
from urllib.parse import urlsplit


class CookieJar(MutableMapping[str, str]):
    """Cookies by name. Set one with `jar["name"] = "value"`; answers set, change and expire them.

    RFC 6265 as far as one site needs it: path, Secure and expiry count; Domain does not, since there is one host.
    """

    def __init__(self) -> None:
        self._cookies: dict[str, Cookie] = {}

    def __getitem__(self, name: str) -> str:
        return self._cookies[name].value

    def __setitem__(self, name: str, value: str) -> None:
        self._cookies[name] = Cookie(value)

    def __delitem__(self, name: str) -> None:
        del self._cookies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cookies)

    def __len__(self) -> int:
        return len(self._cookies)

    def header_for(self, url: str, extra: MutableMapping[str, str] | None = None) -> str:
        """Return the value of the Cookie field for a request, "" when there is none to send."""
        parts = urlsplit(url)
        values = {
            name: cookie.value for name, cookie in self._cookies.items() if cookie.fits(parts.scheme, parts.path or "/")
        }
        values.update(extra or {})
        return "; ".join(f"{name}={value}" for name, value in values.items())

    def take(self, set_cookie_lines: list[str]) -> None:
        """Keep what an answer sets, and drop what it expires."""
        for line in set_cookie_lines:
            try:
                parsed = SimpleCookie(line)
            except CookieError:
                continue  # as browsers do with a line they cannot read (RFC 6265 §5.2)
            for name, morsel in parsed.items():
                if is_expired(morsel):
                    self._cookies.pop(name, None)
                else:
                    self._cookies[name] = Cookie(morsel.coded_value, morsel["path"] or "/", bool(morsel["secure"]))


class Cookie:
    """One cookie's value and where it goes."""

    __slots__ = ("is_secure", "path", "value")

    def __init__(self, value: str, path: str = "/", is_secure: bool = False) -> None:
        self.value = value
        self.path = path
        self.is_secure = is_secure

    def fits(self, scheme: str, path: str) -> bool:
        """Whether the cookie is sent to this address (RFC 6265 §5.1.4)."""
        if self.is_secure and scheme != "https":
            return False
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


def is_expired(morsel: "Morsel[str]") -> bool:
    """Whether a Set-Cookie line deletes the cookie; Max-Age outranks Expires (RFC 6265 §5.3)."""
    if morsel["max-age"]:
        return int(morsel["max-age"]) <= 0
    if morsel["expires"]:
        try:
            return parsedate_to_datetime(morsel["expires"]).timestamp() <= time.time()
        except ValueError:
            return False
    return False
