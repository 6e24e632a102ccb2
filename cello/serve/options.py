"""What the server was told, by whom, and what follows from it.

Every option has one row in `OPTIONS` and may be said in four places; the first that says it wins:

    command line  >  environment (CELLO_…)  >  app.run(…)  >  default

`resolve` looks through them and returns a frozen `RunOptions` that remembers where each value came from, so that every
error can say what to change. Options left None take a value that follows from others (debug from env, and so on).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from cello.errors import ConfigError, closest

if TYPE_CHECKING:
    import argparse

    from cello.serve.cluster import ClusterConfig
    from cello.serve.tls import TlsConfig

ZYGOTE_VARIABLE = "CELLO_ZYGOTE"
"""The environment variable that carries what a supervisor tells its zygote."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LOOPS = ("auto", "asyncio", "uvloop")
_PARSERS = ("auto", "compiled", "httptools", "h11")


class Option(NamedTuple):
    """One option: its name, its type, its default, its help, and the values it takes.

    Attributes:
        kind: str, int, float, bool, or list (of strings; a repeated flag, commas in the environment).
        at_least: Inclusive lower bound of numbers.
        at_most: Inclusive upper bound of numbers.
        one_of: The only strings allowed; empty = any.
    """

    name: str
    kind: type
    default: Any
    help: str
    metavar: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable, e.g. CELLO_PORT."""
        return "CELLO_" + self.name.upper()

    @property
    def flag(self) -> str:
        """The command line flag, e.g. --reload-dir."""
        return "--" + self.name.replace("_", "-")


OPTIONS: tuple[Option, ...] = (
    Option("host", str, "127.0.0.1", "address to listen on; 0.0.0.0 = every IPv4 one, :: = every one", "ADDRESS"),
    Option("port", int, 8000, "port to listen on; 0 = any free one", "N", 0, 65535),
    Option("uds", str, None, "listen on a unix socket instead of a port", "PATH"),
    Option("fd", int, None, "listen on an inherited socket, by its descriptor", "N", 0),
    Option("env", str, "development", "development or production", None, one_of=("development", "production")),
    Option("debug", bool, None, "error pages with tracebacks (default: on in development)"),
    Option("workers", int, None, "worker processes (default: 1; in production one per processor)", "N", 1, 1024),
    Option("reload", bool, False, "restart when a source file changes"),
    Option("reload_dir", list, (), "folder to watch for --reload; may be repeated (default: the current one)", "DIR"),
    Option("logs", bool, None, "one line per request (default: follows --debug)"),
    Option("log_format", str, "text", "text or json", None, one_of=("text", "json")),
    Option("certfile", str, None, "PEM file with the TLS certificate and its chain", "PATH"),
    Option("keyfile", str, None, "PEM file with its private key (default: in the certificate's file)", "PATH"),
    Option("ca_file", str, None, "PEM file with authorities that client certificates are checked against", "PATH"),
    Option("proxy_protocol", bool, False, "every connection begins with a PROXY header that names the client"),
    Option("cpu_affinity", bool, False, "keep each worker on one processor"),
    Option("max_requests", int, None, "replace a worker after about this many requests", "N", 1),
    Option("max_requests_jitter", int, None, "spread that by up to so many (default: a tenth of it)", "N", 0),
    Option("max_rss_mb", int, None, "replace a worker that holds more memory than this, in MiB", "N", 1),
    Option("max_restarts", int, 5, "deaths in a row of a young worker before the service ends", "N", 0),
    Option(
        "worker_timeout",
        float,
        None,
        "replace a worker that is stuck for so long; 0 = never (default: 60, with --debug 0)",
        "SECONDS",
        0,
    ),
    Option("graceful_shutdown", bool, True, "let open requests finish at shutdown"),
    Option("shutdown_timeout", float, 30.0, "seconds that open requests get to finish at shutdown", "SECONDS", 0),
    Option("pid_file", str, None, "write the process id of the server to this file", "PATH"),
    Option("loop", str, "auto", "event loop: auto, asyncio or uvloop", None, one_of=_LOOPS),
    Option("http", str, "auto", "request parser: auto, compiled, httptools or h11", None, one_of=_PARSERS),
    Option("name", str, None, "name of the application in banner and metrics", "NAME"),
)
_BY_NAME: Mapping[str, Option] = {option.name: option for option in OPTIONS}
# What only Python code can say.
_RUN_ONLY: tuple[str, ...] = ("tls", "cluster")
_WORKER_TIMEOUT_S = 60.0


# Who asks for one of these, with one worker too, asks for somebody who watches it.
_OF_A_SUPERVISOR = ("max_requests", "max_rss_mb", "max_restarts", "worker_timeout", "cpu_affinity")


class RunOptions(NamedTuple):
    """Every option with its final value.

    Attributes:
        workers: Worker processes.
        max_requests_jitter: Requests.
        worker_timeout: Seconds; 0 = never.
        shutdown_timeout: Seconds.
        fds: The inherited sockets to listen on, of `fd` or of systemd's socket activation.
        tls: How to encrypt, or None for plain connections; certfile, keyfile and ca_file are folded in.
        origins: Where each option's value came from: "--port", "CELLO_PORT", "app.run(port=…)" or "default".
        notices: Sentences the user should see at start-up, such as an ignored variable.
    """

    host: str
    port: int
    uds: str | None
    fd: int | None
    env: str
    debug: bool
    workers: int
    reload: bool
    reload_dir: tuple[str, ...]
    logs: bool
    log_format: str
    certfile: str | None
    keyfile: str | None
    ca_file: str | None
    proxy_protocol: bool
    cpu_affinity: bool
    max_requests: int | None
    max_requests_jitter: int
    max_rss_mb: int | None
    max_restarts: int
    worker_timeout: float
    graceful_shutdown: bool
    shutdown_timeout: float
    pid_file: str | None
    loop: str
    http: str
    name: str | None
    fds: tuple[int, ...] = ()
    tls: "TlsConfig | None" = None
    origins: Mapping[str, str] = MappingProxyType({})
    notices: tuple[str, ...] = ()

    def was_said(self, name: str) -> bool:
        """Whether somebody gave the option `name`: its value is neither the default nor follows from others."""
        return not self.origins.get(name, "default").startswith(("default", "follows"))

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor is needed: several workers, reload, or workers that are watched and replaced."""
        return self.workers > 1 or self.reload or any(self.was_said(name) for name in _OF_A_SUPERVISOR)

    @property
    def drain_timeout_s(self) -> float:
        """How long open requests get at shutdown, in seconds."""
        return self.shutdown_timeout if self.graceful_shutdown else 0.0


def resolve(
    given: Mapping[str, object] | None = None,
    *,
    arguments: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    tls: "TlsConfig | None" = None,
    cluster: "ClusterConfig | None" = None,
    cpus: Callable[[], int] | None = None,
) -> RunOptions:
    """Return the options that hold.

    Args:
        given: The keywords of `app.run(…)`.
        arguments: What the command line said: only options that were there.
        environment: Where to look for CELLO_… variables.
        tls: What `app.set_tls` was given; `run(tls=…)` and the command line go before it.
        cluster: What `app.set_cluster` was given; `run(cluster=…)` goes before it.
        cpus: Counts processors, for the default of `workers`; None for `usable_cpus`.

    Raises:
        ConfigError: An unknown name, a value of the wrong type or out of range, or options that contradict each other.
    """
    given = given or {}
    check_names(given)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    notices: list[str] = []
    clustered = _cluster_fields(given.get("cluster"), cluster)
    for option in OPTIONS:
        value, origin = _look_up(option, arguments or {}, environment or {}, given, notices)
        if origin == "default" and option.name in clustered:
            value, origin = clustered[option.name], f"ClusterConfig.{option.name}"
        _check(option, value, origin)
        values[option.name], origins[option.name] = value, origin
    values["reload_dir"] = tuple(values["reload_dir"])
    values["host"] = values["host"].strip("[]")
    if values["uds"] is not None and values["fd"] is not None:
        raise ConfigError(f"listen either on {origins['uds']} or on {origins['fd']}, not on both")
    if values["max_requests_jitter"] is not None and values["max_requests"] is None:
        raise ConfigError(f"max_requests_jitter ({origins['max_requests_jitter']}) needs max_requests as well")
    values["fds"] = () if values["fd"] is None else (values["fd"],)
    _derive(values, origins, cpus)
    values["tls"] = _fold_tls(values, origins, given.get("tls"), tls)
    return RunOptions(**values, origins=origins, notices=tuple(notices))


def check_names(given: Mapping[str, object]) -> None:
    """Raise `ConfigError` for a keyword that `app.run` does not know."""
    for name in given:
        if name not in _BY_NAME and name not in _RUN_ONLY:
            known = [*_BY_NAME, *_RUN_ONLY]
            close = closest(name, known)
            hint = f"did you mean {close!r}?" if close else f"it has: {', '.join(known)}"
            raise ConfigError(f"app.run() has no option {name!r}; {hint}")


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """Give `parser` one flag per option; what the command line does not say is absent from the namespace."""
    import argparse

    for option in OPTIONS:
        default = "" if option.default in (None, False, ()) else f" (default: {option.default})"
        common: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS, "help": option.help + default}
        if option.kind is bool:
            parser.add_argument(option.flag, action=argparse.BooleanOptionalAction, **common)
        elif option.kind is list:
            parser.add_argument(option.flag, action="append", metavar=option.metavar, **common)
        else:
            choices = list(option.one_of) or None
            parser.add_argument(option.flag, type=option.kind, metavar=option.metavar, choices=choices, **common)


def read_arguments(argv: Sequence[str]) -> dict[str, object]:
    """Return the options found among a program's own arguments, which are otherwise left alone.

    Anything after `--` belongs to the program.
    """
    if not argv:
        return {}
    import argparse  # a program without arguments does without its 1 MB

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_arguments(parser)
    ours = list(argv)
    if "--" in ours:
        ours = ours[: ours.index("--")]
    return vars(parser.parse_known_args(ours)[0])


def _look_up(
    option: Option,
    arguments: Mapping[str, object],
    environment: Mapping[str, str],
    given: Mapping[str, object],
    notices: list[str],
) -> tuple[Any, str]:
    """Return an option's value and where it came from. An empty variable counts as unset, like a None in `run`."""
    if option.name in arguments:
        return arguments[option.name], option.flag
    text = environment.get(option.variable, "")
    if option.name == "port" and text.startswith("tcp://"):
        # COMPAT: Kubernetes sets NAME_PORT=tcp://… in every pod for each service, here for one called "cello".
        notices.append(f"{option.variable}={text} was set by Kubernetes for a service, not for this server: ignored")
    elif text:
        return _parse(option, text), option.variable
    if given.get(option.name) is not None:
        return given[option.name], f"app.run({option.name}=…)"
    return option.default, "default"


def _parse(option: Option, text: str) -> object:
    if option.kind is bool:
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise ConfigError(f"{option.variable} must be 1 or 0 (true, false, yes, no, on, off), not {text!r:.80}")
    if option.kind is list:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return option.kind(text)
    except ValueError:
        raise ConfigError(f"{option.variable} must be {_WORDS[option.kind]}, not {text!r:.80}") from None


_WORDS: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    list: "a list of strings",
}
_ACCEPTED: Mapping[type, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    list: (list, tuple),
}


def _is_of(kind: type, value: object) -> bool:
    return isinstance(value, _ACCEPTED[kind]) and not (isinstance(value, bool) and kind in (int, float))


def _check(option: Option, value: Any, origin: str) -> None:
    if value is None:
        return
    if not _is_of(option.kind, value):
        raise ConfigError(f"{option.name} must be {_WORDS[option.kind]}, not {value!r:.80} ({origin})")
    if option.one_of and value not in option.one_of:
        raise ConfigError(f"{option.name} must be {' or '.join(option.one_of)}, not {value!r:.80} ({origin})")
    if option.at_least is not None and not value >= option.at_least:
        raise ConfigError(f"{option.name} must be at least {option.at_least}, not {value!r:.80} ({origin})")
    if option.at_most is not None and not value <= option.at_most:
        raise ConfigError(f"{option.name} must be at most {option.at_most}, not {value!r:.80} ({origin})")
    if option.kind is str and "\0" in value:
        raise ConfigError(f"{option.name} must not contain a NUL ({origin})")


def _derive(values: dict[str, Any], origins: dict[str, str], cpus: Callable[[], int] | None) -> None:
    """Give the options that nobody set the value that follows from others."""
    if values["debug"] is None:
        values["debug"] = values["env"] == "development"
        origins["debug"] = f"follows from env={values['env']!r}"
    if values["workers"] is None:
        many = values["env"] == "production" and not values["debug"] and not values["reload"]
        values["workers"] = (cpus or _usable_cpus)() if many else 1
        origins["workers"] = "one per processor" if many else "default"
    if values["max_requests_jitter"] is None:
        values["max_requests_jitter"] = (values["max_requests"] or 0) // 10
        origins["max_requests_jitter"] = f"follows from max_requests={values['max_requests']}"
    if values["worker_timeout"] is None:
        values["worker_timeout"] = 0.0 if values["debug"] else _WORKER_TIMEOUT_S  # who debugs may stop for a look
        origins["worker_timeout"] = f"follows from debug={values['debug']}"
    if values["logs"] is None:
        values["logs"] = values["debug"]
        origins["logs"] = f"follows from debug={values['debug']}"


def _usable_cpus() -> int:
    from cello.serve.cpus import usable_cpus

    return usable_cpus()


def _cluster_fields(of_run: object, of_app: "ClusterConfig | None") -> dict[str, Any]:
    if of_run is not None:
        from cello.serve.cluster import ClusterConfig

        if not isinstance(of_run, ClusterConfig):
            raise ConfigError(f"app.run(cluster=…) must be a ClusterConfig, not {of_run!r:.80}")
    found = of_run or of_app
    if found is None:
        return {}
    fields = {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}
    return {name: value for name, value in fields.items() if value is not None}


def _fold_tls(
    values: Mapping[str, Any], origins: Mapping[str, str], run_tls: object, app_tls: "TlsConfig | None"
) -> "TlsConfig | None":
    """Return the one TLS setting: files named by option go into (or make) the `TlsConfig` of run() or the app."""
    if run_tls is None and app_tls is None and values["certfile"] is None:
        for name in ("keyfile", "ca_file"):
            if values[name] is not None:
                raise ConfigError(f"{origins[name]} needs a certificate as well: --certfile")
        return None
    from cello.serve.tls import TlsConfig

    if run_tls is not None and not isinstance(run_tls, TlsConfig):
        raise ConfigError(f"app.run(tls=…) must be a TlsConfig, not {run_tls!r:.80}")
    base = run_tls or app_tls
    changes: dict[str, Any] = {}
    if values["certfile"] is not None:
        changes = {"cert_path": values["certfile"], "key_path": values["keyfile"] or values["certfile"]}
    elif values["keyfile"] is not None:
        changes["key_path"] = values["keyfile"]
    if values["ca_file"] is not None:
        changes["ca_path"] = values["ca_file"]
    return TlsConfig(**changes) if base is None else dataclasses.replace(base, **changes)
