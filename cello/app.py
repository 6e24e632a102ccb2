"""App: the one object that a user writes against. A façade: it keeps what is declared and hands it on, no more."""

import threading
from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cello.config import LimitsConfig, ThreadPoolConfig, TimeoutConfig
from cello.enable import Switches
from cello.errors import ConfigError, too_late
from cello.gateways.entrance import show_as_asgi
from cello.gateways.mount import Interface, MountTable
from cello.hosting import FeatureHost
from cello.http.request import Request
from cello.pipeline.faults import ExceptionHandler, check_exception_handler, check_exception_kind
from cello.pipeline.guarding import Guard, check_guard
from cello.pipeline.inject import check_signature
from cello.pipeline.lifecycle import Lifecycle
from cello.pipeline.middleware import MiddlewareStack
from cello.routing.blueprint import RouteDecorators
from cello.routing.route import Route
from cello.routing.router import Router

if TYPE_CHECKING:
    from cello.gateways.asgi import AsgiGateway
    from cello.gateways.wsgi import WsgiGateway
    from cello.pipeline.dispatch import Dispatcher
    from cello.serve.cluster import ClusterConfig
    from cello.serve.tls import TlsConfig

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Settings:
    """What `App.set_…` changed, or the defaults.

    Attributes:
        limits: What one connection and one request may use.
        timeouts: How long the server waits.
        threadpool: The threads for blocking `def` handlers.
        tls: The certificate of the own server, or None.
        cluster: The worker processes of the own server, or None.
    """

    def __init__(self) -> None:
        self.limits = LimitsConfig()
        self.timeouts = TimeoutConfig()
        self.threadpool = ThreadPoolConfig()
        self.tls: TlsConfig | None = None  # annotations of attributes are not evaluated
        self.cluster: ClusterConfig | None = None


class State(SimpleNamespace):
    """Whatever an application wants to keep."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"app.state has no {name!r}; set it before, as in a start-up hook: app.state.{name} = …",
            name=name,
            obj=self,
        )


class App(Switches, RouteDecorators):
    """A web application: routes, hooks and switches, served by itself, under WSGI, or under ASGI.

    ```python
    from cello import App

    app = App()

    @app.get("/hello/{name}")
    def hello(request):
        return {"hello": request.params["name"]}

    if __name__ == "__main__":
        app.run()
    ```

    Everything is declared before the first request; `freeze` then compiles it, and later declarations raise.

    Attributes:
        state: For whatever the application wants to keep: `app.state.db = …`.
        dependency_overrides: Name or callable → what `Depends` gives instead, for tests; may change at any time.
        request_class: The class of requests; assign a subclass of `Request` before the application starts.
        lifecycle: Start-up and shutdown.
        router: Where requests go.
        settings: Limits, time limits, threads, TLS.
        middleware: What surrounds requests; add to it by `use`, `before_request` and `after_request`.
        guards: Those of every route; add to them by `add_guard`.
        mounts: Other applications; add to them by `mount`.
        singletons: What `Depends("name")` gives; add to it by `register_singleton`.
        debug: Whether errors show their traceback; set by the server from its options.
        env: "development" or "production"; set by the server.
        role: "server", or "worker" where `cello worker` runs its consumers without the HTTP server.
        name: For the banner, metrics and telemetry.
        urls: Where the own server answers; empty under another one.
        run_options: What `run()` was told while cello imported the module, or None.
    """

    def __new__(cls, *args: object, **named: object) -> Self:
        """Make an application.

        Raises:
            ConfigError: Something is given to it.
        """
        if (args or named) and cls.__init__ is App.__init__:
            given = ", ".join([*(f"{value!r:.40}" for value in args), *named])
            raise ConfigError(
                f"App() takes no arguments, not {given}: what it is called is app.name = …, and what it does are calls "
                "such as app.enable_openapi(title=…) and app.run(debug=…)"
            )
        return super().__new__(cls)

    def __init__(self) -> None:
        self.state = State()
        self.dependency_overrides: dict[Any, Any] = {}
        self.request_class: type[Request] = Request
        self.lifecycle = Lifecycle(self)
        self.router = Router()
        self.settings = Settings()
        self.debug = False
        self.env = "development"
        self.role = "server"
        self.name = "cello"
        self.urls: list[str] = []
        self.run_options: dict[str, object] | None = None
        self.middleware = MiddlewareStack()
        self.guards: list[Guard] = []
        self._exception_handlers: dict[type[BaseException] | int, ExceptionHandler] = {}
        self.singletons: dict[str, object] = {}
        self.mounts = MountTable()
        self._host = FeatureHost(self)
        self._dispatcher: Dispatcher | None = None
        self._freezing = threading.Lock()
        show_as_asgi(self)

    def __getattr__(self, name: str) -> Any:
        from cello.familiar import unknown_attribute

        raise AttributeError(unknown_attribute(name, dir(type(self))), name=name, obj=self)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Serve one request: WSGI by two arguments, ASGI by three, also by name (or one, ASGI 2)."""
        if len(args) == 2 and not named:
            return self.wsgi(args[0], args[1])
        if len(args) == 1 and not named:
            return self.asgi.legacy(args[0])
        return self.asgi(*args, **named)

    # What answers requests, asyncio with it, is loaded when the first is to be answered: a module that only declares an
    # application is imported in half the time. Threads that come first together get the same gateway.

    @cached_property
    def wsgi(self) -> "WsgiGateway":
        """This application as a WSGI callable, for hosts that need it said."""
        from cello.gateways.wsgi import WsgiGateway

        gateway: WsgiGateway = self.__dict__.setdefault("wsgi", WsgiGateway(self))
        return gateway

    @cached_property
    def asgi(self) -> "AsgiGateway":
        """This application as an ASGI 3 callable."""
        from cello.gateways.asgi import AsgiGateway

        gateway: AsgiGateway = self.__dict__.setdefault("asgi", AsgiGateway(self))
        return gateway

    def __repr__(self) -> str:
        return f"<App {self.name!r}, {len(self.router.routes)} routes>"

    # Requests

    def mount(self, prefix: str, other: Any, interface: Interface | None = None) -> None:
        """Let another application answer everything at and below `prefix`.

        Args:
            prefix: A path such as "/old"; it is looked up before routes.
            other: A WSGI or ASGI application.
            interface: "wsgi" or "asgi", where it cannot be told from `other`.

        Raises:
            ConfigError: `other` is neither, or the prefix is empty, malformed, or taken.
        """
        self._refuse_late("mount()")
        self.mounts.add(prefix, other, interface).attach(self.lifecycle)

    def use(self, middleware: object) -> None:
        """Run `middleware` (see `cello.Middleware`) around every request.

        Raises:
            ConfigError: It is a class, or has none of the hooks.
        """
        self._refuse_late("use()")
        self.middleware.use(middleware)

    def before_request(self, function: F) -> F:
        """Call `function(request)` before every handler; what it returns, unless None, is the answer."""
        self._refuse_late("before_request")
        self.middleware.before_request(function)
        return function

    def after_request(self, function: F) -> F:
        """Call `function(request, response)` after every handler; what it returns, unless None, replaces the answer."""
        self._refuse_late("after_request")
        self.middleware.after_request(function)
        return function

    def add_guard(self, guard: Guard) -> None:
        """Ask `guard` before every route.

        Raises:
            ConfigError: It cannot be called with a request.
        """
        self._refuse_late("add_guard()")
        check_guard(guard)
        self.guards.append(guard)

    def exception_handler(self, kind: type[Exception] | int) -> Callable[[F], F]:
        """Answer exceptions of class `kind` (or errors of that status) with `function(request, error)`.

        The nearest class in the exception's MRO wins. A handler of `Exception` is asked about unexpected errors only,
        one of `HTTPError` about all of the 4xx and 5xx that are raised on purpose, 404 and 405 included.

        Raises:
            ConfigError: `kind` is no exception class or status, or has a handler already.
        """
        check_exception_kind(kind)

        def register(function: F) -> F:
            self._refuse_late("exception_handler")
            check_exception_handler(function)
            if kind in self._exception_handlers:
                raise ConfigError(f"{kind!r} has an exception handler already: {self._exception_handlers[kind]!r}")
            self._exception_handlers[kind] = function
            return function

        return register

    def url_for(self, name: str, /, **params: object) -> str:
        """Return the path of the route called `name` (its `name=`, else its handler's name).

        Raises:
            RouteError: No such route, or the parameters are not exactly its own.
        """
        return self.router.url_for(name, **params)

    # Dependencies

    def register_singleton(self, name: str, value: object) -> None:
        """Give `value` to every parameter whose default is `Depends(name)`.

        Raises:
            ConfigError: The name is taken, or is no string.
        """
        if not (name and isinstance(name, str)):
            raise ConfigError(f"a singleton's name must be a string, not {name!r:.80}")
        if name in self.singletons:
            raise ConfigError(f"there is a singleton {name!r} already; use app.dependency_overrides in tests")
        self.singletons[name] = value

    # Life

    def on_event(self, event_name: str) -> Callable[[F], F]:
        """Run a function, sync or async, at "startup" or "shutdown" of each worker.

        Raises:
            ConfigError: There is no such event, or the function takes arguments.
        """
        registers = {"startup": self.lifecycle.on_startup, "shutdown": self.lifecycle.on_shutdown}
        if event_name not in registers:
            raise ConfigError(f"there is no event {event_name!r:.80}: use 'startup' or 'shutdown'")
        return registers[event_name]

    def lifespan(self, make: F) -> F:
        """Enter the context manager that `make(app)` (or `make()`) returns at start-up, leave it at shutdown."""
        return self.lifecycle.lifespan(make)

    def freeze(self) -> "Dispatcher":
        """Compile every route into what answers it; done once, after the start-up hooks.

        Raises:
            ConfigError: A route cannot be compiled; the message names it.
        """
        with self._freezing:
            if self._dispatcher is None:
                self._dispatcher = self._compile()
            return self._dispatcher

    @property
    def dispatcher(self) -> "Dispatcher":
        """What gateways hold of this application; freezes it."""
        return self.freeze()

    def explain(self, path: str, method: str = "GET") -> str:
        """Print what happens to a request of `method` for `path`, line by line; and return it. This freezes."""
        plan = self.freeze().explain(method, path)
        print(plan)  # noqa: T201  # what it is called for, in a shell or a test
        return plan

    def run(self, **options: Any) -> None:
        """Serve this application with cello's own server until it is told to stop.

        The command line goes before the environment (`CELLO_PORT=…`), and that before what is given here.

        Args:
            **options: `host="127.0.0.1"`, `port=8000`, `debug=None` (follows `env`), `env="development"`,
                `workers=None` (all CPUs in production, else 1), `reload=False`, `logs=None` (follows `debug`), and the
                further ones that `cello run --help` lists, with underscores.

        Raises:
            ConfigError: An option is unknown or impossible, or the call is reached while another program imports
                this module; it names the `if __name__ == "__main__":` that is missing.
            SystemExit: The server could not start.
        """
        from cello.serve import run

        run(self, options)

    # Settings

    @property
    def limits(self) -> LimitsConfig:
        """What one connection and one request may use."""
        return self.settings.limits

    @property
    def timeouts(self) -> TimeoutConfig:
        """How long the server waits."""
        return self.settings.timeouts

    def set_limits(self, limits: LimitsConfig) -> None:
        """Replace the limits."""
        self.settings.limits = self._checked("set_limits", limits, LimitsConfig)

    def set_timeouts(self, timeouts: TimeoutConfig) -> None:
        """Replace the time limits."""
        self.settings.timeouts = self._checked("set_timeouts", timeouts, TimeoutConfig)

    def set_threadpool(self, threadpool: ThreadPoolConfig) -> None:
        """Replace how blocking `def` handlers are run."""
        self.settings.threadpool = self._checked("set_threadpool", threadpool, ThreadPoolConfig)

    def set_tls(self, tls: "TlsConfig") -> None:
        """Have the own server speak TLS."""
        from cello.serve.tls import TlsConfig

        self.settings.tls = self._checked("set_tls", tls, TlsConfig)

    def set_cluster(self, cluster: "ClusterConfig") -> None:
        """Say how many processes of the own server answer, and how they are kept."""
        from cello.serve.cluster import ClusterConfig

        self.settings.cluster = self._checked("set_cluster", cluster, ClusterConfig)

    # Inside

    def _add(self, route: Route) -> None:
        if route.socket is None:
            check_signature(route.handler, route.pattern)
        else:
            from cello.pipeline.sockets import check_socket_signature  # few applications have a WebSocket

            check_socket_signature(route.handler, route.pattern)
        self.router.add(route)

    def _compile(self) -> "Dispatcher":
        from cello.pipeline.dispatch import Dispatcher

        self._host.refuse_unmet_marks()
        inspector = self._host.show_inspector() if self.debug else None
        dispatcher = Dispatcher(
            app=self,
            router=self.router,
            mounts=self.mounts,
            middleware=self.middleware,
            guards=self.guards,
            exception_handlers=self._exception_handlers,
            singletons=self.singletons,
            overrides=self.dependency_overrides,
            limits=self.settings.limits,
            timeouts=self.settings.timeouts,
            threadpool=self.settings.threadpool,
            debug=self.debug,
            request_class=self.request_class,
            keeps_loop_free=self._host.keeps_loop_free,
        )
        if inspector is not None:
            dispatcher.fault_listeners.append(inspector.note)
        return dispatcher

    def _refuse_late(self, what: str) -> None:
        if self._dispatcher is not None:
            raise ConfigError(too_late(what))

    def _checked(self, setter: str, value: Any, kind: type[T]) -> T:
        self._refuse_late(f"{setter}()")
        if not isinstance(value, kind):
            raise ConfigError(f"{setter}() takes a {kind.__name__}, not {value!r:.80}")
        return value
