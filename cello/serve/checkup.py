"""What `cello check` says: whether an application fits where it is to run, found out without serving it.

Nothing is opened, connected to or started. The application itself is looked at here; each switch looks at its own
settings (`Reviewed` in extension.py).
"""

import json
import shutil
import textwrap
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from cello.review import Deployment, Finding
from cello.serve import console
from cello.serve.options import RunOptions
from cello.serve.tls import Certificates

LEVELS = ("error", "warning", "note")
_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_MIB = 1 << 20
_LARGE = {"max_body_size": 1024 * _MIB, "max_header_size": _MIB, "max_ws_message": 256 * _MIB, "max_fields": 10_000}
_LONG_S = {"read_header": 60, "read_body": 600, "write": 600, "idle": 3_600, "handler": 3_600}


def deployment_of(app: Any, options: RunOptions, machines: int) -> Deployment:
    """Return where `app` is to run."""
    has_https_proxy = app.feature("trusted_proxies") is not None
    return Deployment(
        env=options.env,
        debug=options.debug,
        host="" if options.uds or options.fds else options.host,
        workers=options.workers,
        machines=machines,
        is_encrypted=options.tls is not None or has_https_proxy,
        knows_its_hosts=app.feature("trusted_hosts") is not None,
    )


def examine(
    app: Any, options: RunOptions, *, machines: int = 1, ignored: Collection[str] = (), compat: bool = False
) -> list[Finding]:
    """Return what will not work, or is not wise, the worst first.

    Args:
        app: An App that is frozen.
        options: How it is to be served.
        machines: How many machines are to serve it.
        ignored: Codes of findings that somebody knows better than.
        compat: Look too at what means something else than under cello-framework.

    Raises:
        ConfigError: A certificate cannot be used.
    """
    if options.tls is not None:
        Certificates(options.tls)
    deployment = deployment_of(app, options, machines)
    found = [*_options(options, deployment), *_limits(app), *_routes(app), *app.review(deployment), *_machine(app)]
    if compat:
        from cello.serve import compat as compatibility  # who moves over needs it, and nobody else

        found += compatibility.examine(app)
    return sorted((one for one in found if one.code not in ignored), key=lambda one: LEVELS.index(one.level))


def _options(options: RunOptions, deployment: Deployment) -> Iterator[Finding]:
    """Look at how it is served."""
    for text in options.notices:
        yield Finding("note", "option", text)
    if options.debug and deployment.is_production:
        yield Finding(
            "error",
            "debug",
            f"debug is on in production ({options.origins['debug']}): errors show strangers their traceback and "
            "source. Leave it out, it follows env",
        )
    elif options.debug and _is_public(deployment.host):
        yield Finding(
            "warning",
            "debug-public",
            f"debug is on and {deployment.host} is listened on: whoever reaches this machine sees tracebacks and "
            "source. Use --host 127.0.0.1, or --env production",
        )
    if not deployment.is_production:
        return
    if options.reload:
        yield Finding(
            "error",
            "reload",
            f"reload is on in production ({options.origins['reload']}): a file that is half written is loaded. Roll by "
            "SIGHUP instead",
        )
    if options.worker_timeout == 0 and options.was_said("worker_timeout"):
        yield Finding("warning", "worker-timeout", "worker_timeout=0: a worker that is stuck stays so, leave it at 60")
    if not options.graceful_shutdown:
        yield Finding(
            "warning", "shutdown", "graceful_shutdown=False: each restart cuts off the requests that are open"
        )


def _is_public(host: str) -> bool:
    if host in ("", "localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _limits(app: Any) -> Iterator[Finding]:
    """Look for limits that are none."""
    limits, timeouts = app.settings.limits, app.settings.timeouts
    for name, most in _LARGE.items():
        if (said := getattr(limits, name)) > most:
            yield Finding(
                "warning", "unbounded", f"LimitsConfig.{name}={said:,} lets one client take that much each time"
            )
    for name, longest_s in _LONG_S.items():
        if (said := getattr(timeouts, name)) > longest_s:
            yield Finding(
                "warning",
                "unbounded",
                f"TimeoutConfig.{name}={said:g}: a client that does nothing holds a place so long",
            )
    if limits.ws_ping_interval == 0 and app.router.sockets:
        yield Finding(
            "warning", "unbounded", "LimitsConfig.ws_ping_interval=0: WebSockets of clients that vanished stay open"
        )
    for route in app.router.routes:
        size = route.options.max_body_size
        if size is not None and size > _LARGE["max_body_size"] and not route.options.stream:
            yield Finding(
                "warning",
                "unbounded",
                f"route {route}: max_body_size={size:,} is read whole before the handler runs; use stream=True and "
                "request.stream()",
            )


def _routes(app: Any) -> Iterator[Finding]:
    """Look at what the application answers, and what stands around that."""
    sockets = [route.pattern.path for route in app.router.sockets]
    if sockets:
        shown = ", ".join(sockets[:5]) + (f" and {len(sockets) - 5} more" if len(sockets) > 5 else "")
        yield Finding(
            "note",
            "wsgi-websocket",
            "WebSocket needs cello's own server (cello run) or an ASGI server; under a WSGI server "
            f"{shown} will be answered 426 or 501",
        )
    if app.feature("session") is not None and app.feature("csrf") is None:
        changing = [
            route for route in app.router.routes if not route.is_builtin and not _SAFE.issuperset(route.methods)
        ]
        if changing:
            yield Finding(
                "warning",
                "csrf",
                f"there are sessions, and enable_csrf() is not called: pages of other sites may have browsers ask for "
                f"{changing[0].methods[0]} {changing[0].pattern.path} as whoever is signed in",
            )


def _machine(app: Any) -> Iterator[Finding]:
    """Look at where this runs; it may be another machine than the one that is meant."""
    if text := app.shared_memory_trouble():
        yield Finding("warning", "shared-memory", text)
    if text := console.rival_warning():
        yield Finding("warning", "cello-framework", text)


def is_passed(found: Sequence[Finding], *, strict: bool) -> bool:
    """Return whether nothing was found that must be changed."""
    bad = ("error", "warning") if strict else ("error",)
    return not any(one.level in bad for one in found)


def as_json(found: Sequence[Finding], routes: int, *, passed: bool) -> str:
    """Return what was found for a program to read."""
    listed = [{"level": one.level, "code": one.code, "text": one.text} for one in found]
    return json.dumps({"passed": passed, "routes": routes, "findings": listed}, indent=2, ensure_ascii=False)


def as_text(found: Sequence[Finding], routes: int, stream: Any, *, passed: bool) -> str:
    """Return what was found for people: a line each, wrapped where a terminal shows it."""
    lines = []
    level_width = max((len(one.level) for one in found), default=0) + 2
    code_width = max((len(one.code) for one in found), default=0) + 2
    indent = " " * (level_width + code_width)
    columns = shutil.get_terminal_size().columns if stream.isatty() else 0
    for one in found:
        text = one.text
        if columns > len(indent) + 30:
            text = f"\n{indent}".join(textwrap.wrap(text, columns - len(indent), break_long_words=False))
        level = console.paint(one.level.ljust(level_width), _STYLES[one.level], stream)
        lines.append(f"{level}{one.code.ljust(code_width)}{text}")
    counted = [
        f"{count} {level}{'' if count == 1 else 's'}"
        for level in LEVELS
        if (count := sum(one.level == level for one in found))
    ]
    answered = f"{routes} route{'' if routes == 1 else 's'}"
    lines.append("; ".join([f"{'ok' if passed else 'failed'}: {answered}", *([", ".join(counted)] if counted else [])]))
    return "\n".join(lines)
