"""What a handler says about its route beyond the route decorator: `@cache(...)`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from cello.errors import ConfigError

H = TypeVar("H", bound=Callable[..., Any])

_ATTRIBUTE = "__cello_cache__"


class CacheMark:
    """How answers of one route are cached; a decorator, and a value of the route option `cache=`.

    Attributes:
        ttl_s: Seconds that an answer lives which does not say so itself; None for what `enable_caching` says, 0 for
            no caching at all.
        tags: What `app.invalidate_cache` may name; `{name}` stands for a path parameter.
        shared: Answers are the same for everybody, whatever guards, sessions and credentials there are.
        stale_while_revalidate_s: Seconds; None for what `enable_caching` says.
        stale_if_error_s: Seconds; None for what `enable_caching` says.
    """

    __slots__ = ("shared", "stale_if_error_s", "stale_while_revalidate_s", "tags", "ttl_s")

    def __init__(
        self,
        ttl_s: float | None = None,
        tags: tuple[str, ...] = (),
        shared: bool = False,
        stale_while_revalidate_s: float | None = None,
        stale_if_error_s: float | None = None,
    ) -> None:
        self.ttl_s = ttl_s
        self.tags = tags
        self.shared = shared
        self.stale_while_revalidate_s = stale_while_revalidate_s
        self.stale_if_error_s = stale_if_error_s

    def __call__(self, handler: H) -> H:
        """Mark `handler` and return it.

        Raises:
            ConfigError: It is no function.
        """
        if not callable(handler):
            raise ConfigError(f"@cache(...) marks a handler, not {handler!r:.80}")
        setattr(getattr(handler, "__func__", handler), _ATTRIBUTE, self)
        return handler

    def __repr__(self) -> str:
        return f"cache(ttl={self.ttl_s!r}, tags={list(self.tags)!r}, shared={self.shared!r})"


@overload
def cache(ttl: H, /) -> H: ...
@overload
def cache(
    ttl: float | None = None,
    tags: Sequence[str] | None = None,
    *,
    shared: bool = False,
    stale_while_revalidate: float | None = None,
    stale_if_error: float | None = None,
) -> CacheMark: ...
def cache(
    ttl: Any = None,
    tags: Sequence[str] | None = None,
    *,
    shared: bool = False,
    stale_while_revalidate: float | None = None,
    stale_if_error: float | None = None,
) -> Any:
    """Say how a handler's answers are cached, once `app.enable_caching()` switched caching on.

    ```python
    from cello import App, cache

    app = App()
    app.enable_caching()

    @app.get("/users/{id}")
    @cache(ttl=60, tags=["users", "user:{id}"])
    def get_user(id: int):
        return {"id": id}
    ```

    Args:
        ttl: Seconds that an answer lives which has no `Cache-Control` or `Expires` of its own; None for what
            `enable_caching` says, 0 to keep nothing.
        tags: What `app.invalidate_cache([...])` may name; `{name}` stands for a path parameter.
        shared: Answers are the same for everybody: cache them although the route has guards, or looks at sessions,
            cookies or credentials. SECURITY: whoever passes the guards gets what another was answered.
        stale_while_revalidate: Seconds after its time in which an answer is given out while it is made anew.
        stale_if_error: Seconds after its time in which an answer is given out when making it anew fails.

    Raises:
        ConfigError: An argument is out of range.
    """
    if callable(ttl):
        return CacheMark()(ttl)
    for name, value in (
        ("ttl", ttl),
        ("stale_while_revalidate", stale_while_revalidate),
        ("stale_if_error", stale_if_error),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise ConfigError(f"cache: {name} is a number of seconds, at least 0, not {value!r:.80}")
    if not isinstance(shared, bool):
        raise ConfigError(f"cache: shared must be True or False, not {shared!r:.80}")
    return CacheMark(ttl, checked_tags("cache", tags), shared, stale_while_revalidate, stale_if_error)


def checked_tags(where: str, tags: object) -> tuple[str, ...]:
    """Return tags as a tuple.

    Raises:
        ConfigError: Not a list of strings.
    """
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple | set | frozenset) or not all(isinstance(tag, str) and tag for tag in tags):
        raise ConfigError(f"{where}: tags must be a list of strings, not {tags!r:.80}")
    return tuple(tags)


def cache_mark_of(handler: Callable[..., Any], option: object) -> CacheMark | None:
    """Return how a route's answers are cached: what its option `cache=` says, else what marks its handler.

    Args:
        handler: The route's.
        option: The value of `cache=`, checked: None, a bool, seconds, or a mark.
    """
    if isinstance(option, CacheMark):
        return option
    mark: CacheMark | None = getattr(handler, _ATTRIBUTE, None)
    if option is None:
        return mark
    if option is False:
        return CacheMark(0.0)
    mark = mark or CacheMark()
    if option is True:
        return mark
    return CacheMark(
        float(option),  # type: ignore[arg-type]  # only seconds are left
        mark.tags,
        mark.shared,
        mark.stale_while_revalidate_s,
        mark.stale_if_error_s,
    )
