"""Dependencies: what `Depends(...)` stands for, resolved once into a flat list of steps.

Every callable of a handler's tree of dependencies becomes one numbered step, after those it needs itself; a step reads
the results of earlier steps by number. A request runs down the list. Mentions of one callable share a step, and so its
value, unless one says `use_cache=False`.

Overrides are looked up when a request comes: while there are none that costs one truth test. While there are, the tree
is resolved anew with them in place, and kept for as long as they stay the same.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Mapping
from typing import Any, NamedTuple

from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline.afterwork import YIELD_ONCE, register
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.params import Dependency
from cello.pipeline.signature import Argument, Signature, read_signature
from cello.pipeline.spread import spread
from cello.pipeline.validation import Getter

Singletons = Mapping[str, Any]
Overrides = Mapping[Any, Any]

Slot = int
Source = Getter | Slot
"""Where an argument comes from: a getter, or the number of a step."""


class Call(NamedTuple):
    """A call and where its arguments come from."""

    function: Callable[..., Any]
    positional: tuple[Source, ...]
    keywords: tuple[tuple[str, Source], ...]

    def make(self, request: Request, values: list[Any]) -> Any:
        """Call with what `request` and the earlier steps give."""
        args = [values[source] if isinstance(source, int) else source(request) for source in self.positional]
        if not self.keywords:
            return self.function(*args)
        named = {name: values[src] if isinstance(src, int) else src(request) for name, src in self.keywords}
        return self.function(*args, **named)

    @property
    def getters(self) -> tuple[Getter, ...]:
        """What comes from the request itself."""
        sources = (*self.positional, *(source for _, source in self.keywords))
        return tuple(source for source in sources if not isinstance(source, int))


class Step(NamedTuple):
    """One dependency to be made: its call, and what its result is."""

    call: Call
    kind: str

    def perform(self, request: Request, values: list[Any]) -> Any:
        """Return the value, or an awaitable of it."""
        made = self.call.make(request, values)
        if self.kind == "generator":
            return enter(request, made)
        if self.kind == "async generator":
            return enter_async(request, made)
        return made


class Program:
    """The steps of one handler's dependencies, and its own call."""

    __slots__ = ("arguments", "awaits", "call", "getters", "signature", "steps")

    def __init__(self, signature: Signature, arguments: list[Argument], steps: list[Step], call: Call) -> None:
        self.signature = signature
        self.arguments = tuple(arguments)
        self.steps = tuple(steps)
        self.call = call
        self.awaits = any(step.kind in ("coroutine", "async generator") for step in steps)
        self.getters = tuple(getter for step in steps for getter in step.call.getters) + call.getters

    def run(self, request: Request) -> Any:
        """Make the dependencies and call; a plain dependency that hands out an awaitable makes the rest a coroutine."""
        values: list[Any] = []
        for step in self.steps:
            value = step.perform(request, values)
            if inspect.isawaitable(value):
                return self._rest(request, values, value)
            values.append(value)
        return self.call.make(request, values)

    async def run_async(self, request: Request) -> Any:
        """Make the dependencies and call, awaiting what must be awaited."""
        values: list[Any] = []
        for step in self.steps:
            value = step.perform(request, values)
            values.append(await value if inspect.isawaitable(value) else value)
        value = self.call.make(request, values)
        return await value if inspect.isawaitable(value) else value

    async def _rest(self, request: Request, values: list[Any], pending: Awaitable[Any]) -> Any:
        values.append(await pending)
        for step in self.steps[len(values) :]:
            value = step.perform(request, values)
            values.append(await value if inspect.isawaitable(value) else value)
        value = self.call.make(request, values)
        return await value if inspect.isawaitable(value) else value


def enter(request: Request, generator: Generator[Any, None, None]) -> Any:
    """Return what `generator` yields, and have it resumed after the answer."""
    try:
        value = next(generator)
    except StopIteration:
        raise RuntimeError(YIELD_ONCE) from None
    register(request, generator)
    return value


async def enter_async(request: Request, generator: AsyncGenerator[Any, None]) -> Any:
    """Return what `generator` yields, and have it resumed after the answer."""
    try:
        value = await anext(generator)
    except StopAsyncIteration:
        raise RuntimeError(YIELD_ONCE) from None
    register(request, generator)
    return value


def getter_of(argument: Argument, *, embed: bool = False) -> Getter:
    """Return what takes `argument`, any but a dependency, from a request.

    Args:
        argument: Which one.
        embed: Whether it is one of several in the body, so that each is the member of its name.

    Raises:
        ConfigError: Its annotation or constraints cannot work.
    """
    if argument.source == "request":
        return lambda request: request
    from cello.pipeline.sources import make_getter  # converters and validators: handlers of the request need none

    return make_getter(argument, embed=embed)


class Resolver:
    """Turns signatures into programs.

    Args:
        path_names: The path parameters of the route.
        singletons: The application's registered values, by name; read when a request comes.
        overrides: The application's `dependency_overrides`; read when a request comes.
        where: What an error about the route as a whole names.
    """

    def __init__(self, path_names: Collection[str], singletons: Singletons, overrides: Overrides, where: str) -> None:
        self._path_names = path_names
        self._singletons = singletons
        self._overrides = overrides
        self._where = where

    def program(self, function: Callable[..., Any], replaced: Overrides | None = None) -> Program:
        """Return the program of `function`.

        Args:
            function: The handler.
            replaced: Callables to be used in place of others.

        Raises:
            ConfigError: A parameter cannot be bound, a name is not registered, or dependencies go in a circle.
        """
        signature = read_signature(function, self._path_names)
        work = _Resolution(self, replaced or {})
        call = work.call(function, signature, (function,))
        return Program(signature, work.arguments, work.steps, call)

    def getter_of(self, name: str, owner: str) -> Getter:
        """Return the getter of a registered value.

        Raises:
            ConfigError: Nothing is registered under `name`.
        """
        singletons, overrides = self._singletons, self._overrides
        if name not in singletons and name not in overrides:
            known = ", ".join(map(repr, singletons)) or "none"
            raise ConfigError(
                f"{self._where}: {owner} needs Depends({name!r}), but no singleton has that name (registered: {known})"
            )

        def get(request: Request) -> Any:
            if overrides and name in overrides:
                return overrides[name]
            return singletons[name]

        return get

    def signature_of(self, function: Callable[..., Any]) -> Signature:
        """Return the signature of a dependency."""
        return read_signature(function, self._path_names)


class _Resolution:
    """One walk through a tree of dependencies."""

    def __init__(self, resolver: Resolver, replaced: Overrides) -> None:
        self.arguments: list[Argument] = []
        self.steps: list[Step] = []
        self._resolver = resolver
        self._replaced = replaced
        self._shared: dict[Callable[..., Any], Slot] = {}

    def call(self, function: Callable[..., Any], signature: Signature, chain: tuple[Any, ...]) -> Call:
        """Return the call of `function`, having added the steps it needs."""
        positional: list[Source] = []
        keywords: list[tuple[str, Source]] = []
        embeds = sum(argument.source == "body" for argument in signature.arguments) > 1
        for argument in signature.arguments:
            is_member = argument.source == "body" and (embeds or argument.parameter.embed)
            source = self._source(argument, chain, embed=is_member)
            self.arguments.extend(spread(argument) or [argument._replace(is_member=is_member)])
            if argument.by_keyword:
                keywords.append((argument.name, source))
            else:
                positional.append(source)
        return Call(function, tuple(positional), tuple(keywords))

    def _source(self, argument: Argument, chain: tuple[Any, ...], *, embed: bool) -> Source:
        marker = argument.marker
        if not isinstance(marker, Dependency):
            return getter_of(argument, embed=embed)
        if isinstance(marker.target, str):
            return self._resolver.getter_of(marker.target, argument.owner)
        return self._step(marker, argument, chain)

    def _step(self, marker: Dependency, argument: Argument, chain: tuple[Any, ...]) -> Slot:
        wanted: Any = marker.target
        if wanted in chain:
            circle = " → ".join(describe(link) for link in (*chain[chain.index(wanted) :], wanted))
            raise ConfigError(f"{argument.owner}: dependencies go in a circle: {circle}")
        if marker.use_cache and wanted in self._shared:
            return self._shared[wanted]
        function = self._replaced.get(wanted, wanted)
        call = self.call(function, self._resolver.signature_of(function), (*chain, wanted))
        self.steps.append(Step(call, _kind(function)))
        slot = len(self.steps) - 1
        if marker.use_cache:
            self._shared[wanted] = slot
        return slot


def _kind(function: Callable[..., Any]) -> str:
    target = inspect.unwrap(function)
    called = target if inspect.isroutine(target) or inspect.isclass(target) else getattr(target, "__call__", target)  # noqa: B004
    for candidate in (function, called):  # what a wrapper is itself counts before what it wraps
        if inspect.isgeneratorfunction(candidate):
            return "generator"
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
    return "coroutine" if must_be_awaited(function) else "value"
