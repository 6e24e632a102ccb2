"""The cache as a feature: a middleware that answers from what is kept, and keeps what may be.

Rule 1: a request that misses runs as if there were no cache. A store that fails is as good as an empty one, unless
the application said `fail="closed"`.
Rule 2: nothing is kept of a request that was somebody's: with `Authorization` (unless the answer says that it is for
all), an identified user, a session or cookies that the handler looked at, or guards. `@cache(shared=True)` lifts this.
Rule 3: the generations of what an answer depends on (its URL, its tags) are read *before* the handler runs, so an
invalidation while it runs makes its answer worthless.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from cello.errors import ConfigError, ServiceUnavailable
from cello.extension import Host
from cello.features.cache import rules
from cello.features.cache.entry import Entry, Varied
from cello.features.cache.flights import MOST_WAIT_S, Flights, Landing
from cello.features.cache.keeping import entry_of, keep
from cello.features.cache.passage import PASSAGE, Passage, is_identified
from cello.features.cache.policy import Policy, checked_defaults, checked_methods, checked_paths, is_below, policy_of
from cello.features.cache.refresh import Renewal, renewed
from cello.features.cache.rules import Verdict
from cello.features.cache.store import (
    Course,
    LocalGenerations,
    MemoryStore,
    Store,
    StoreFailed,
    drive_blocking,
    drive_waiting,
    slot_of,
)
from cello.features.cache.stores import LocalStores, RedisStores, choose
from cello.http.background import BackgroundTasks
from cello.http.headers import make_field
from cello.http.request import Request
from cello.http.response import TEXT_FIELD, Response, ready
from cello.pipeline.faults import problem
from cello.pipeline.middleware import SHORTCUT, Middleware
from cello.pipeline.threads import is_on_loop
from cello.review import Deployment, Finding
from cello.routing.marks import checked_tags
from cello.routing.route import Route

logger = logging.getLogger("cello.cache")

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
MOST_ROUNDS = 4
"""How often a request looks again after others landed, before it goes alone."""
_X_CACHE = {label: make_field("X-Cache", label) for label in ("HIT", "MISS", "STALE", "BYPASS")}


class Caching(Middleware):
    """Keeps answers. For what the arguments mean see `App.enable_caching`; `clock` is the time of day, in seconds."""

    name = "caching"
    band = SHORTCUT
    may_wait = True

    def __init__(
        self,
        ttl: float = 300,
        methods: Collection[str] | None = None,
        exclude_paths: Collection[str] | None = None,
        *,
        stale_while_revalidate: float = 0,
        stale_if_error: float = 0,
        max_bytes: int = 67_108_864,
        max_entry_bytes: int = 1_048_576,
        store: Any = "memory",
        fail: str = "open",
        key_prefix: str = "cello:cache:",
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, size in (("max_bytes", max_bytes), ("max_entry_bytes", max_entry_bytes)):
            if type(size) is not int or size < 1:
                raise ConfigError(f"enable_caching: {name} is a number of bytes, at least 1, not {size!r:.80}")
        if fail not in ("open", "closed"):
            raise ConfigError(f"enable_caching: fail is 'open' or 'closed', not {fail!r:.80}")
        self._defaults = checked_defaults(ttl, stale_while_revalidate, stale_if_error)
        self._methods = checked_methods(methods)
        self._excluded = checked_paths(exclude_paths)
        self._max_bytes = max_bytes
        self._max_entry_bytes = min(max_entry_bytes, max_bytes)
        self._where = store
        self._prefix = key_prefix
        self._fails_closed = fail == "closed"
        self._clock = clock
        self._flights = Flights()
        self._policies: dict[Route, Policy | None] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._store: Store = MemoryStore(max_bytes, LocalGenerations())
        self._stores: LocalStores | RedisStores
        self._host: Host

    def install(self, host: Host) -> None:
        """Stand in front of every route."""
        self._host = host
        self._renewal = Renewal(host, self)
        requests = host.metric("counter", "cache_requests_total", "Requests of cached routes, by X-Cache.", ("result",))
        self._counted = {label: requests.labelled(label.lower()).add for label in _X_CACHE}
        dropped = host.metric("counter", "cache_evictions_total", "Entries that a worker dropped for want of room.")
        failed = host.metric("counter", "cache_failures_total", "Requests whose cache could not be asked.")
        self._failed = failed.labelled()
        self._entries = host.metric("gauge", "cache_entries", "Entries that workers hold as objects.").labelled()
        self._bytes = host.metric("gauge", "cache_entry_bytes", "What those weigh.").labelled()
        self._spans = host.spans
        host.on_collect(self._read)
        self._stores = choose(
            self._where,
            host,
            most_bytes=self._max_bytes,
            prefix=self._prefix,
            is_needed=self._fails_closed,
            on_evicted=dropped.labelled().add,
        )
        if isinstance(self._stores, RedisStores):
            host.add_check("caching", self._stores.ping, critical=self._fails_closed)
        host.add_middleware(self)
        host.on_start(self._start, band=40)

    def _start(self) -> None:
        self._flights = Flights()
        self._store = self._stores.open()

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find invalidations that other machines do not hear."""
        if deployment.machines > 1 and isinstance(self._stores, LocalStores):
            yield Finding(
                "warning",
                "cache-machines",
                f"enable_caching keeps answers on each of {deployment.machines} machines by itself: "
                "invalidate_cache() does not reach the others. Use store='redis' if that matters",
            )

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded or guarded, at no cost to it, unless its writes concern what is kept."""
        if route is None or route.is_builtin:
            return False
        policy = policy_of(route, self._defaults, self._host.guards(), self._excluded, self._methods)
        self._policies[route] = policy
        return policy is not None or not SAFE.issuperset(route.methods)

    def _tell(self, label: str) -> None:
        self._counted[label]()
        self._spans.note("cello.cache", label.lower())

    def _read(self) -> None:
        shelf = self._store.shelf
        if shelf is not None:
            self._entries.set(len(shelf))
            self._bytes.set(shelf.used_bytes)

    def invalidate(self, tags: Collection[str]) -> Any:
        """Make all answers with one of `tags` worthless, in every process that shares the store.

        Raises:
            ConfigError: `tags` is no list of strings.
        """
        slots = tuple(slot_of(tag) for tag in checked_tags("invalidate_cache", tags))
        self._store.invalidate(slots)
        if not self._store.owes:
            return None
        telling = self._drive(self._telling())
        if telling is None:
            return None
        task = asyncio.ensure_future(telling)  # `after` tells too, before the answer leaves; this is for other callers
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def before(self, request: Request) -> Any:
        """Answer from what is kept, or note what the answer will depend on."""
        return self._drive(self._entering(request))

    def after(self, request: Request, response: Response) -> Any:
        """Keep the answer, if it may be."""
        memo = request._memo
        passage = None if memo is None else memo.get(PASSAGE)
        if passage is None:
            return None
        if passage.is_served:
            self._tell(passage.label)
            return None
        return self._drive(self._leaving(request, response, passage))

    def on_error(self, request: Request, error: BaseException) -> Any:
        """Let others try where the request was given up; after any other error an answer follows."""
        memo = request._memo
        passage = None if memo is None else memo.get(PASSAGE)
        if passage is None or isinstance(error, Exception):
            return None
        return self._drive(self._landing(passage, Landing.LOST))

    def _drive(self, course: Course[Any]) -> Any:
        """Run `course`; where it comes to wait, block this thread, or hand out what its loop must await."""
        try:
            operation = next(course)
        except StopIteration as end:
            return end.value
        return drive_waiting(course, operation) if is_on_loop() else drive_blocking(course, operation)

    # On the way in

    def _entering(self, request: Request) -> Course[Response | None]:
        method = request.method
        if method not in SAFE:
            url = request.url
            request._remember()[PASSAGE] = Passage(self._defaults, url, (slot_of(url),), is_write=True)
            return None
        policy = self._policies.get(request.route)
        if policy is None or method not in self._methods:
            return None
        if self._excluded and is_below(request.path, self._excluded):
            return None
        url, head = request.url, request._head
        wishes = rules.wishes_of(head)
        passage = Passage(policy, url, policy.slots(url, request.params), is_head=method == "HEAD", wishes=wishes)
        passage.watch(request)
        request._remember()[PASSAGE] = passage
        if head.get(b"range") is not None:  # a part of an answer is nothing for others, nor are others' answers cut
            passage.label = "BYPASS"
            return None
        try:
            return (yield from self._looking(request, passage))
        except StoreFailed as error:
            passage.stamps = None
            passage.label = "BYPASS"
            self._give_up(error, passage)
            return None

    def _looking(self, request: Request, passage: Passage) -> Course[Response | None]:
        """Answer from what is kept; else wait for whoever makes it, or lead."""
        is_somebodys = not passage.policy.shared and is_identified(request)
        for _ in range(MOST_ROUNDS):
            entry, verdict = yield from self._find(request, passage, is_somebodys=is_somebodys)
            if entry is not None and verdict is Verdict.FRESH:
                yield from self._landing(passage, Landing.STORED)
                return self._served(passage, entry, "HIT")
            if entry is not None and verdict is Verdict.STALE:
                yield from self._landing(passage, Landing.STORED)
                return (yield from self._served_while_made_anew(request, passage, entry))
            if passage.wishes.only_if_cached:
                passage.is_served = True
                return problem(504, "Nothing is kept for this request, and it asks for nothing else.")
            if passage.flight is not None:  # this is the second look of the one who leads
                passage.ask_whether_changed(request)
                return None
            if is_somebodys or passage.wishes.anew or passage.wishes.no_store:
                passage.label = "BYPASS"
                return None
            boarded = self._flights.board(passage.key)
            if boarded is None:
                return None
            flight, leads = boarded
            if leads:
                passage.flight = flight
                yield from self._claim(request, passage, is_somebodys=is_somebodys)
                continue
            landing = yield flight
            stale = passage.stale
            if landing is Landing.FAILED and stale is not None and rules.may_stand_in(stale, self._clock()):
                return self._served(passage, stale, "STALE")
            if landing not in (Landing.STORED, Landing.LOST):
                return None
        return None

    def _claim(self, request: Request, passage: Passage, *, is_somebodys: bool) -> Course[None]:
        """Wait until this process may make the answer, or another one has."""
        gives_up_s = time.monotonic() + MOST_WAIT_S
        while (other := (yield from self._store.claim(passage.key))) is not None and time.monotonic() < gives_up_s:
            yield other
            _, verdict = yield from self._find(request, passage, is_somebodys=is_somebodys)
            if verdict is not Verdict.EXPIRED:
                return

    def _find(self, request: Request, passage: Passage, *, is_somebodys: bool) -> Course[tuple[Entry | None, Verdict]]:
        """Return what is kept for the request and what it is good for; note under which key, and the stamps."""
        head, now_s = request._head, self._clock()
        is_head = request.method == "HEAD"
        for base in (passage.url, f"HEAD {passage.url}") if is_head else (passage.url,):
            key = base
            found, passage.stamps = yield from self._store.fetch(key, passage.slots)
            if isinstance(found, Varied):
                passage.names = found.names
                key = f"{base}\n{rules.variant(found.names, head)}"
                found, passage.stamps = yield from self._store.fetch(key, passage.slots)
            passage.key = key
            if not isinstance(found, Entry) or (is_somebodys and not found.is_public):
                continue
            verdict = rules.judge(found, now_s, passage.wishes)
            if verdict is Verdict.STALE and is_head and base != passage.url:
                verdict = Verdict.EXPIRED  # nobody makes anew what only HEAD is answered with
            if verdict is not Verdict.EXPIRED:
                return found, verdict
            passage.stale = found
        return None, Verdict.EXPIRED

    def _served(self, passage: Passage, entry: Entry, label: str) -> Response:
        """Return `entry` as a response of its own."""
        passage.is_served = True
        passage.label = label
        response = ready(entry.body, TEXT_FIELD)
        response.status = entry.status
        response._content_type = None
        headers = response.headers
        headers.put_all(entry.fields)
        headers.put_all((("age", (b"Age", b"%d" % entry.age_at(self._clock()))), _X_CACHE[label]))
        return response

    def _served_while_made_anew(self, request: Request, passage: Passage, entry: Entry) -> Course[Response]:
        response = self._served(passage, entry, "STALE")
        boarded = self._flights.board(passage.key)
        if boarded is None or not boarded[1]:
            return response
        anew = Passage(passage.policy, passage.url, passage.slots)
        anew.flight = boarded[0]
        anew.key, anew.names, anew.stamps, anew.stale = passage.key, passage.names, passage.stamps, entry
        if (yield from self._store.claim(anew.key)) is not None:
            self._flights.land(boarded[0], Landing.LOST)
            return response
        again = renewed(request)
        plan = self._host.dispatcher.plan_for(again)
        response.background = BackgroundTasks()
        response.background.add_task(self._renewal.run_async if plan.is_async else self._renewal.run, plan, again, anew)
        return response

    # On the way out

    def _leaving(self, request: Request, response: Response, passage: Passage) -> Course[Response | None]:
        if passage.is_write:
            if 200 <= response.status < 400:
                self._store.invalidate(passage.slots)
            yield from self._telling()
            return None
        passage.forget_asking(request)
        if self._store.owes:
            yield from self._telling()
        instead = yield from self._storing(request, response, passage)
        self._tell(passage.label)
        answer = response if instead is None else instead
        if not passage.is_served:
            answer.headers.put(*_X_CACHE[passage.label])
        return instead

    def _storing(self, request: Request, response: Response, passage: Passage) -> Course[Response | None]:
        """Keep the answer if it may be kept; return what goes out in its place, if anything does."""
        landing = Landing.NOT_STORED
        instead = None
        try:
            stale = passage.stale
            if response.status in rules.FAILED:
                landing = Landing.FAILED
                if stale is not None and rules.may_stand_in(stale, self._clock()):
                    instead = self._served(passage, stale, "STALE")
            entry = entry_of(request, response, passage, now_s=self._clock(), most_bytes=self._max_entry_bytes)
            if entry is not None:
                yield from keep(self._store, request, response, passage, entry)
                landing = Landing.STORED
                if response.status == 304 and stale is not None:
                    instead = self._served(passage, entry, "HIT")
        except StoreFailed as error:
            self._give_up(error, passage)
        except BaseException:  # a cancelled request closes its course; nobody must wait for it
            self._drop(passage, Landing.LOST)
            raise
        yield from self._landing(passage, landing)
        return instead

    def keep_anew(self, request: Request, response: Response, passage: Passage) -> Any:
        """Keep an answer that was made behind somebody's back; for `Renewal`."""
        return self._drive(self._storing(request, response, passage))

    def give_up_anew(self, passage: Passage) -> None:
        """Let another request make that answer; for `Renewal`."""
        self._drive(self._landing(passage, Landing.LOST))

    def _landing(self, passage: Passage, landing: Landing) -> Course[None]:
        """End the flight that this request leads, if it does."""
        flight, passage.flight = passage.flight, None
        if flight is None:
            return
        self._flights.land(flight, landing)
        try:
            yield from self._store.release(flight.key)
        except StoreFailed as error:
            self._give_up(error)

    def _drop(self, passage: Passage, landing: Landing) -> None:
        """End the flight in this process only; its claim ends by itself."""
        flight, passage.flight = passage.flight, None
        if flight is not None:
            self._flights.land(flight, landing)

    def _telling(self) -> Course[None]:
        """Tell other machines what was invalidated."""
        try:
            yield from self._store.flush()
        except StoreFailed as error:
            self._give_up(error)

    def _give_up(self, error: StoreFailed, passage: Passage | None = None) -> None:
        """Go on without the store, or say that it cannot be done.

        Raises:
            ServiceUnavailable: The application wants no answers without its cache.
        """
        if passage is not None:
            self._drop(passage, Landing.FAILED)
        logger.warning("%s", error)
        self._failed.add()
        if self._fails_closed:
            raise ServiceUnavailable("The cache is not available.") from error
