"""From a handler to a callable that takes the request: binding by signature, compiled once.

PERF: `handler(request)` is used as it is. Handlers with only values from the request get a closure of their own arity;
only those with callable dependencies run a program of steps. Nothing of this looks at a signature during a request.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from cello.errors import ConfigError, HTTPError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.depends import Call, Overrides, Program, Resolver, Singletons, getter_of
from cello.pipeline.params import Body, Dependency
from cello.pipeline.signature import EMPTY, Argument, Signature, Unresolved, read_signature
from cello.pipeline.validation import Getter, Invalid, all_faults, unprocessable
from cello.routing.pattern import Pattern

Bound = Callable[[Request], Any]


class Binding(NamedTuple):
    """A handler bound to its request.

    Attributes:
        call: Takes the request, gives what the handler returns.
        awaits: Whether that must be awaited.
        signature: The handler's own signature, for explanations and schemas.
        arguments: Every argument of the handler and of its dependencies, deepest first.
    """

    call: Bound
    awaits: bool
    signature: Signature
    arguments: tuple[Argument, ...]


def check_signature(handler: Callable[..., Any], pattern: Pattern) -> Signature:
    """Check what the signature of `handler` alone decides; called when its route is registered.

    Annotations that name what does not exist yet are left for `compile_handler`.

    Raises:
        ConfigError: Not callable, or a parameter cannot be bound; names function and parameter.
    """
    if not callable(handler):
        raise ConfigError(f"a handler must be callable, not {handler!r:.80}")
    signature = read_signature(handler, pattern.param_names)
    for argument in signature.arguments:
        if not isinstance(argument.marker, Dependency) and not isinstance(argument.annotation, Unresolved):
            getter_of(argument)
    return signature


def compile_handler(
    handler: Callable[..., Any],
    path_names: Collection[str],
    singletons: Singletons,
    overrides: Overrides,
    where: str,
) -> Binding:
    """Return `handler` as a callable of the request alone.

    Args:
        handler: The user's function.
        path_names: The path parameters of its route.
        singletons: The application's registered values; read when a request comes.
        overrides: The application's `dependency_overrides`; read when a request comes.
        where: The route, for errors.

    Raises:
        ConfigError: It cannot be bound.
    """
    resolver = Resolver(path_names, singletons, overrides, where)
    program = resolver.program(handler)
    if program.steps:
        return _keeping(_with_dependencies(handler, program, resolver, overrides))
    awaits = must_be_awaited(handler)
    call = program.call
    arguments = program.signature.arguments
    with_request = bool(arguments) and arguments[0].source == "request"
    if call.keywords:
        bound = _with_keywords(call)
    elif with_request:
        bound = _after_request(handler, call.getters[1:])
    else:
        bound = _with_values(handler, call.getters)
    return _keeping(Binding(bound, awaits, program.signature, program.arguments))


def _keeping(binding: Binding) -> Binding:
    """Return `binding` with what it gives held to the handler's return annotation, where that says something."""
    returns = binding.signature.returns
    if any(returns is kind for kind in _SAYING_NOTHING):
        return binding
    from cello.pipeline.returns import make_keeper  # few handlers of small applications are annotated

    keep = make_keeper(returns, describe(binding.signature.function))
    if keep is None:
        return binding
    call = binding.call

    async def kept_async(request: Request) -> Any:
        return keep(await call(request))

    def kept(request: Request) -> Any:
        return keep(call(request))

    return binding._replace(call=kept_async if binding.awaits else kept)


_SAYING_NOTHING = (EMPTY, Any, None, type(None), str, bytes, dict, list, Response)


def _after_request(function: Callable[..., Any], getters: tuple[Getter, ...]) -> Bound:
    """Return the callable of a handler that takes the request first, then values from it."""
    if not getters:
        return function
    if len(getters) == 1:
        (get,) = getters

        def bound_one(request: Request) -> Any:
            try:
                value = get(request)
            except Invalid as invalid:
                raise unprocessable(invalid.faults) from None
            return function(request, value)

        return bound_one

    def bound_many(request: Request) -> Any:
        try:
            values = [get(request) for get in getters]
        except Invalid as invalid:
            raise _complete(request, getters, invalid) from None
        return function(request, *values)

    return bound_many


def _with_values(function: Callable[..., Any], getters: tuple[Getter, ...]) -> Bound:
    """Return the callable of a handler that takes only values from the request, or nothing."""
    if not getters:
        return lambda request: function()
    if len(getters) == 1:
        (get,) = getters

        def bound_one(request: Request) -> Any:
            try:
                value = get(request)
            except Invalid as invalid:
                raise unprocessable(invalid.faults) from None
            return function(value)

        return bound_one

    def bound_many(request: Request) -> Any:
        try:
            values = [get(request) for get in getters]
        except Invalid as invalid:
            raise _complete(request, getters, invalid) from None
        return function(*values)

    return bound_many


def _with_keywords(call: Call) -> Bound:
    """Return the callable of a handler that takes some values by keyword."""
    getters = call.getters

    def bound(request: Request) -> Any:
        try:
            return call.make(request, [])
        except Invalid as invalid:
            raise _complete(request, getters, invalid) from None

    return bound


def _with_dependencies(handler: Bound, program: Program, resolver: Resolver, overrides: Overrides) -> Binding:
    """Return the callable of a handler with callable dependencies."""
    latest: tuple[tuple[Any, ...], Program] = ((), program)

    def current() -> Program:
        """Return the program with today's overrides in place."""
        nonlocal latest
        replaced = {key: value for key, value in overrides.items() if not isinstance(key, str)}
        key = tuple(replaced.items())
        known, current_program = latest
        if key != known:
            current_program = resolver.program(handler, replaced) if replaced else program
            latest = (key, current_program)
        return current_program

    if program.awaits or must_be_awaited(handler):

        async def bound_async(request: Request) -> Any:
            chosen = current() if overrides else program
            try:
                return await chosen.run_async(request)
            except Invalid as invalid:
                raise _complete(request, chosen.getters, invalid) from None

        return Binding(bound_async, True, program.signature, program.arguments)

    def bound(request: Request) -> Any:
        chosen = current() if overrides else program
        try:
            return chosen.run(request)
        except Invalid as invalid:
            raise _complete(request, chosen.getters, invalid) from None

    return Binding(bound, False, program.signature, program.arguments)


def _complete(request: Request, getters: Collection[Getter], invalid: Invalid) -> HTTPError:
    """Return the 422 with every fault that the request has; 400 or 415 where the body cannot be read at all."""
    try:
        return unprocessable(all_faults(request, getters) or invalid.faults)
    except HTTPError as error:  # malformed JSON, a form over its limits: that answer goes first
        return error


def with_checked_body(bound: Bound, model: Any, where: str, *, awaits: bool) -> Bound:
    """Return `bound` behind a check of the JSON body against the route's `body=` model.

    For handlers that read `request.json()` themselves; one that takes the model as an argument has its own check.

    Raises:
        ConfigError: The model cannot be read from JSON.
    """
    from cello.pipeline.bodies import body_getter  # with all that validation needs: few applications do

    get = body_getter(model, Body(), f"{where}, body=")

    def check(request: Request) -> None:
        try:
            get(request)
        except Invalid as invalid:
            raise unprocessable(invalid.faults) from None

    if awaits:

        async def checked_async(request: Request) -> Any:
            check(request)
            return await bound(request)

        return checked_async

    def checked(request: Request) -> Any:
        check(request)
        return bound(request)

    return checked
