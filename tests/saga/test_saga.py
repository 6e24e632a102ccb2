"""Executions on every kind of store: forwards, backwards, again, and how they are looked at."""

import asyncio
import dataclasses
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cello import ConfigError
from cello.saga import (
    Parallel,
    Saga,
    SagaCancelled,
    SagaConfig,
    SagaError,
    SagaNotFound,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    Sleep,
    StepRun,
    StepStatus,
    WaitForEvent,
)
from cello.saga.log import SagaLog

Test = Callable[..., Any]
OBEYED: set[str] = set()


def obeys(*fields: str) -> Callable[[Test], Test]:
    """Note which fields a test shows to be obeyed."""
    OBEYED.update(fields)
    return lambda test: test


class Shop:
    """Steps that write down what they do, and fail as often as they are told."""

    def __init__(self, **failing: Any) -> None:
        self.done: list[str] = []
        self.runs: list[StepRun] = []
        self.failing = failing

    def step(self, name: str, *, undo: bool = True, is_async: bool = True, **options: Any) -> SagaStep:
        def act(what: str, context: Any, run: StepRun) -> Any:
            self.done.append(what)
            self.runs.append(run)
            left = self.failing.get(what.replace("-", "undo_"), 0)
            if isinstance(left, BaseException):
                raise left
            if left:
                self.failing[what.replace("-", "undo_")] = left - 1
                raise OSError(f"{what} does not answer")
            if isinstance(context, dict):
                context[what] = run.attempt
            return {"done": what}

        def do(context: Any, run: StepRun) -> Any:
            return act(name, context, run)

        def un(context: Any, run: StepRun) -> Any:
            return act(f"-{name}", context, run)

        async def do_async(context: Any, run: StepRun) -> Any:
            await asyncio.sleep(0)
            return act(name, context, run)

        async def un_async(context: Any, run: StepRun) -> Any:
            return act(f"-{name}", context, run)

        action, compensate = (do_async, un_async) if is_async else (do, un)
        return SagaStep(name, action, compensate if undo else None, **options)


def saga_of(*steps: Any, name: str | None = None, context: Any = dict) -> Saga:
    """Return a saga that no other test's orchestrator knows."""
    made = type("Made", (Saga,), {"context": context})(name or f"saga-{uuid.uuid4()}")
    for step in steps:
        made.add_step(step)
    return made


def sagas(store: str, saga: Saga, **config: Any) -> SagaOrchestrator:
    made = SagaOrchestrator(SagaConfig(**{"retry_delay_ms": 1, "poll_interval_ms": 20, "store": store, **config}))
    made.register(saga)
    return made


async def until(orchestrator: SagaOrchestrator, execution_id: str, *statuses: str) -> Any:
    """Wait for an execution to be in one of these states."""
    deadline = time.monotonic() + 30
    while True:
        found = await orchestrator.get_execution(execution_id)
        assert found is not None
        if found.status in statuses:
            return found
        assert time.monotonic() < deadline, found.get_status()
        await asyncio.sleep(0.01)


def statuses(execution: Any) -> dict[str, str]:
    return {step["name"]: step["status"] for step in execution.steps}


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
async def test_all_steps_are_done_in_order(store: str, is_async: bool) -> None:
    shop = Shop()
    saga = saga_of(*[shop.step(name, is_async=is_async) for name in ("reserve", "charge", "ship")])
    async with sagas(store, saga) as orchestrator:
        context = {"order": 7}
        execution = await orchestrator.execute(saga.name, context)
        assert shop.done == ["reserve", "charge", "ship"]
        assert context == {"order": 7, "reserve": 1, "charge": 1, "ship": 1}
        status = execution.get_status()
        assert status == (await orchestrator.get_execution(execution.id)).get_status()  # type: ignore[union-attr]
        assert (status["status"], status["saga_name"]) == ("completed", saga.name)
        assert status["steps"][0] == {
            "name": "reserve", "status": StepStatus.COMPLETED, "attempts": 1, "result": {"done": "reserve"},
        }  # fmt: skip
        assert status["started_at"] <= status["completed_at"] <= time.time() + 60
        assert [run.key for run in shop.runs] == [f"{execution.id}:1:{name}" for name in ("reserve", "charge", "ship")]
        assert shop.runs[2].results == {"reserve": {"done": "reserve"}, "charge": {"done": "charge"}}


async def test_no_execution_ends_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    saga = saga_of(Shop().step("reserve"))
    async with sagas("sqlite://:memory:", saga) as orchestrator:
        monkeypatch.setattr("cello.saga.run.Run._now_ms", lambda run: run.record.started_ms - 3)  # its clock is behind
        status = (await orchestrator.execute(saga.name)).get_status()
        assert status["started_at"] == status["completed_at"]


@obeys("max_retries", "retry_delay_ms")
async def test_a_step_that_fails_is_tried_again_with_the_same_key(store: str) -> None:
    shop = Shop(charge=2)
    saga = saga_of(shop.step("reserve"), shop.step("charge"))
    async with sagas(store, saga, max_retries=2) as orchestrator:
        execution = await orchestrator.execute(saga.name)
    assert shop.done == ["reserve", "charge", "charge", "charge"]
    assert [run.attempt for run in shop.runs] == [1, 1, 2, 3]
    assert len({run.key for run in shop.runs}) == 2
    assert execution.steps[1]["attempts"] == 3


async def test_what_a_failed_attempt_changed_in_the_context_is_gone(store: str) -> None:
    tries = []

    async def charge(context: dict[str, Any]) -> None:
        context.setdefault("seen", []).append(len(tries))
        tries.append(1)
        if len(tries) == 1:
            raise OSError

    saga = saga_of(SagaStep("charge", charge))
    async with sagas(store, saga) as orchestrator:
        assert (await orchestrator.execute(saga.name, {})).context == {"seen": [1]}


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
async def test_a_step_that_fails_for_good_has_the_others_compensated_in_reverse(store: str, is_async: bool) -> None:
    shop = Shop(ship=9)
    names = ("reserve", "charge", "ship", "mail")
    saga = saga_of(*[shop.step(name, is_async=is_async) for name in names])
    async with sagas(store, saga, max_retries=1) as orchestrator:
        context: dict[str, Any] = {}
        with pytest.raises(SagaError, match="Saga failed at step 'ship': ship does not answer") as caught:
            await orchestrator.execute(saga.name, context)
        assert shop.done == ["reserve", "charge", "ship", "ship", "-charge", "-reserve"]
        assert (caught.value.step_name, type(caught.value.original_error)) == ("ship", OSError)
        execution = caught.value.execution
        assert execution is not None
        assert execution.status is SagaStatus.FAILED
        assert statuses(execution) == {
            "reserve": "compensated", "charge": "compensated", "ship": "failed", "mail": "pending",
        }  # fmt: skip
        assert context == {"reserve": 1, "charge": 1, "-charge": 1, "-reserve": 1}
        last = shop.runs[-1]
        assert (last.key, last.action_key) == (f"{execution.id}:1:reserve:undo", shop.runs[0].key)
        assert (last.reason, shop.runs[0].reason) == ("OSError: ship does not answer", None)
        assert execution.error == "OSError: ship does not answer"


async def test_a_step_that_raises_a_saga_error_is_not_tried_again(store: str) -> None:
    shop = Shop(charge=SagaError("charge", ValueError("no funds")))
    saga = saga_of(shop.step("reserve"), shop.step("charge"))
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError) as caught:
            await orchestrator.execute(saga.name)
    assert isinstance(caught.value.original_error, ValueError)
    assert shop.done == ["reserve", "charge", "-reserve"]


async def test_a_compensation_has_retries_of_its_own(store: str) -> None:
    shop = Shop(charge=9, undo_reserve=2)
    saga = saga_of(shop.step("reserve"), shop.step("charge", max_retries=0))
    async with sagas(store, saga, max_retries=2) as orchestrator:
        with pytest.raises(SagaError):
            await orchestrator.execute(saga.name)
    assert shop.done == ["reserve", "charge", "-reserve", "-reserve", "-reserve"]


async def test_a_compensation_that_fails_for_good_is_stuck_until_it_is_retried(store: str) -> None:
    shop = Shop(ship=9, undo_charge=2)
    saga = saga_of(*[shop.step(name, max_retries=0) for name in ("reserve", "charge", "ship")])
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError) as caught:
            await orchestrator.execute(saga.name)
        stuck = caught.value.execution
        assert stuck is not None
        assert (stuck.status, shop.done) == ("stuck", ["reserve", "charge", "ship", "-charge", "-reserve"])
        assert statuses(stuck) == {"reserve": "compensated", "charge": "failed", "ship": "failed"}
        assert stuck.steps[1]["compensation_error"] == "OSError: -charge does not answer"
        await orchestrator.retry(stuck.id)
        await until(orchestrator, stuck.id, "stuck")
        await orchestrator.retry(stuck.id)
        ended = await until(orchestrator, stuck.id, "failed")
        assert statuses(ended) == {"reserve": "compensated", "charge": "compensated", "ship": "failed"}
        assert shop.done[5:] == ["-charge", "-charge"]


async def test_what_has_failed_is_retried_from_the_beginning_with_other_keys(store: str) -> None:
    shop = Shop(charge=1)
    saga = saga_of(shop.step("reserve"), shop.step("charge", max_retries=0))
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError) as caught:
            await orchestrator.execute(saga.name, {"order": 7})
        failed = caught.value.execution
        assert failed is not None
        await orchestrator.retry(failed.id)
        ended = await until(orchestrator, failed.id, "completed")
        assert ended.context == {"order": 7, "reserve": 1, "charge": 1}
        assert [run.key.split(":")[1] for run in shop.runs] == ["1", "1", "1", "2", "2"]
        with pytest.raises(ConfigError, match="is completed: there is nothing to try again"):
            await orchestrator.retry(failed.id)


@obeys("timeout_ms")
async def test_the_time_of_a_saga_is_limited(store: str) -> None:
    shop = Shop()

    async def hang(context: Any) -> None:
        shop.done.append("hang")
        await asyncio.sleep(60)

    async def unhang(context: Any) -> None:
        shop.done.append("-hang")

    saga = saga_of(shop.step("reserve"), SagaStep("hang", hang, unhang))
    async with sagas(store, saga, timeout_ms=300) as orchestrator:
        with pytest.raises(SagaError) as caught:
            await orchestrator.execute(saga.name)
    assert isinstance(caught.value.original_error, TimeoutError)
    assert shop.done == ["reserve", "hang", "-hang", "-reserve"], "it may have been done, so it is undone"


async def test_a_step_has_a_time_limit_of_its_own_for_each_attempt(store: str) -> None:
    tries = []

    async def hang(context: Any) -> str:
        tries.append(1)
        await asyncio.sleep(60 if len(tries) < 3 else 0)
        return "at last"

    saga = saga_of(SagaStep("hang", hang, timeout=0.05))
    async with sagas(store, saga) as orchestrator:
        execution = await orchestrator.execute(saga.name)
    assert (len(tries), execution.steps[0]["result"]) == (3, "at last")


async def test_steps_side_by_side_are_under_way_together(store: str) -> None:
    met = asyncio.Barrier(3)

    def meeting(name: str) -> SagaStep:
        async def act(context: dict[str, Any]) -> None:
            await met.wait()
            context[name] = name

        return SagaStep(name, act)

    saga = saga_of(Parallel(meeting("a"), meeting("b"), meeting("c")), Shop().step("after"))
    async with sagas(store, saga) as orchestrator:
        execution = await orchestrator.execute(saga.name)
    assert execution.context == {"a": "a", "b": "b", "c": "c", "after": 1}


async def test_when_one_side_fails_the_others_end_and_all_are_compensated(store: str) -> None:
    shop = Shop(b=9)
    saga = saga_of(shop.step("first"), Parallel(shop.step("a"), shop.step("b", max_retries=0), shop.step("c")))
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError, match="'b'"):
            await orchestrator.execute(saga.name)
    assert sorted(shop.done[1:4]) == ["a", "b", "c"]
    assert shop.done[4:] == ["-c", "-a", "-first"]


async def test_an_event_is_waited_for_and_carries_data(store: str) -> None:
    shop = Shop()
    saga = saga_of(shop.step("reserve"), WaitForEvent("paid"), shop.step("ship"))
    async with sagas(store, saga, timeout_ms=20_000) as orchestrator:
        waiting = await orchestrator.execute(saga.name)
        assert (waiting.status, waiting.is_open, shop.done) == ("waiting", True, ["reserve"])
        assert statuses(waiting) == {"reserve": "completed", "paid": "waiting", "ship": "pending"}
        assert await orchestrator.signal(waiting.id, "paid", {"amount": 3})
        assert not await orchestrator.signal(waiting.id, "paid", {"amount": 4})
        ended = await until(orchestrator, waiting.id, "completed")
    assert ended.context == {"reserve": 1, "paid": {"amount": 3}, "ship": 1}


async def test_an_event_that_comes_before_it_is_waited_for_counts(store: str) -> None:
    here, go = asyncio.Event(), asyncio.Event()

    async def slow(context: Any) -> None:
        here.set()
        await go.wait()

    saga = saga_of(SagaStep("slow", slow), WaitForEvent("paid"))
    async with sagas(store, saga) as orchestrator:
        begun = await orchestrator.start(saga.name)
        await here.wait()
        await orchestrator.signal(begun.id, "paid", 3)
        go.set()
        ended = await orchestrator.wait(begun.id, 30)
    assert (ended.status, ended.context) == ("completed", {"paid": 3})


async def test_an_event_that_never_comes_is_a_failure(store: str) -> None:
    shop = Shop()
    saga = saga_of(shop.step("reserve"), WaitForEvent("paid", timeout=0.05))
    async with sagas(store, saga) as orchestrator:
        begun = await orchestrator.start(saga.name)
        ended = await until(orchestrator, begun.id, "failed")
    assert ended.error == "TimeoutError: 'paid' has not come in 0.05 s"
    assert shop.done == ["reserve", "-reserve"]


async def test_a_time_is_waited_for_and_does_not_count_against_the_limit(store: str) -> None:
    saga = saga_of(Sleep(lambda context: context["seconds"]), Shop().step("after"))
    async with sagas(store, saga, timeout_ms=400) as orchestrator:
        began_s = time.monotonic()
        waiting = await orchestrator.execute(saga.name, {"seconds": 0.6})
        assert waiting.status == "waiting"
        ended = await until(orchestrator, waiting.id, "completed", "failed")
        assert (ended.status, time.monotonic() - began_s >= 0.6) == ("completed", True)


async def test_a_time_that_cannot_be_told_is_a_failure(store: str) -> None:
    shop = Shop()
    saga = saga_of(shop.step("reserve"), Sleep(lambda context: context["no such member"]))
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError, match="'sleep'"):
            await orchestrator.execute(saga.name)
    assert shop.done == ["reserve", "-reserve"]


async def test_what_waits_is_cancelled_at_once(store: str) -> None:
    shop = Shop()
    saga = saga_of(shop.step("reserve"), WaitForEvent("paid"))
    async with sagas(store, saga) as orchestrator:
        waiting = await orchestrator.execute(saga.name)
        assert await orchestrator.cancel(waiting.id, "the customer has left")
        ended = await until(orchestrator, waiting.id, "cancelled")
        assert (ended.error, shop.done) == ("the customer has left", ["reserve", "-reserve"])
        assert not await orchestrator.cancel(waiting.id)
        with pytest.raises(SagaCancelled):
            ended.raise_for_status()


async def test_what_runs_is_cancelled_when_the_step_under_way_has_ended(store: str) -> None:
    shop, here, go = Shop(), asyncio.Event(), asyncio.Event()

    async def slow(context: Any) -> None:
        here.set()
        await go.wait()
        shop.done.append("slow")

    saga = saga_of(SagaStep("slow", slow, lambda context: shop.done.append("-slow")), shop.step("never"))
    async with sagas(store, saga) as orchestrator:
        begun = await orchestrator.start(saga.name)
        await here.wait()
        assert await orchestrator.cancel(begun.id)
        go.set()
        ended = await orchestrator.wait(begun.id, 30)
    assert (ended.status, shop.done) == ("cancelled", ["slow", "-slow"])


async def test_a_key_makes_an_execution_the_only_one(store: str) -> None:
    shop = Shop()
    saga = saga_of(shop.step("charge"))
    async with sagas(store, saga) as orchestrator:
        found = await asyncio.gather(*[orchestrator.execute(saga.name, {}, key="order-7") for _ in range(5)])
        other = await orchestrator.execute(saga.name, {}, key="order-8")
        by_key = await orchestrator.find_execution(saga.name, "order-7")
        assert by_key is not None
        assert (by_key.id, await orchestrator.find_execution(saga.name, "order-9")) == (found[0].id, None)
    assert len({each.id for each in found}) == 1
    assert (other.id not in {each.id for each in found}, shop.done) == (True, ["charge"] * 2)
    assert found[0].key == "order-7"


async def test_executions_are_listed_the_newest_first(store: str) -> None:
    saga = saga_of(Shop().step("a"), WaitForEvent("go"))
    async with sagas(store, saga) as orchestrator:
        ids = []
        for _ in range(3):
            ids.append((await orchestrator.execute(saga.name)).id)
            await asyncio.sleep(0.002)
        await orchestrator.cancel(ids[0])
        await until(orchestrator, ids[0], "cancelled")
        assert [each.id for each in await orchestrator.list_executions(saga.name)] == ids[::-1]
        assert [each.id for each in await orchestrator.list_executions(saga.name, limit=1, offset=1)] == [ids[1]]
        assert [each.id for each in await orchestrator.list_executions(saga.name, "waiting")] == ids[:0:-1]
        with pytest.raises(ConfigError, match="never 'wating'"):
            await orchestrator.list_executions(status="wating")
        assert await orchestrator.get_execution("nobody") is None
        for call in (orchestrator.signal("nobody", "x"), orchestrator.cancel("nobody"), orchestrator.retry("nobody")):
            with pytest.raises(SagaNotFound):
                await call


async def test_what_fell_asleep_is_let_go_where_it_is_due_already_and_nobody_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saga = Saga("Short sleep")
    saga.add_step(Sleep(0.001))
    saga.add_step(SagaStep("act", lambda context: None))
    get = SagaLog.get

    async def get_late(log: SagaLog, execution_id: str) -> Any:
        found = await get(log, execution_id)
        while found.status == "waiting" and await log.now_ms() <= found.due_ms:
            await asyncio.sleep(0.001)
        return found

    monkeypatch.setattr(SagaLog, "get", get_late)
    orchestrator = SagaOrchestrator(SagaConfig())
    orchestrator.register(saga)
    async with asyncio.timeout(30):
        slept = await orchestrator.execute("Short sleep")
        assert slept.status == "waiting"
        monkeypatch.undo()
        assert [each.status for each in await orchestrator.resume()] == ["completed"]
    await orchestrator.close()


async def test_what_ended_long_ago_is_forgotten(store: str) -> None:
    thirty_years = 30 * 365 * 86400  # the server may be everybody's: nothing else in it is as old
    saga = saga_of(Shop().step("a"))
    async with sagas(store, saga) as orchestrator:
        old, young = [(await orchestrator.execute(saga.name)).id for _ in range(2)]
        for each in (old, young):
            await until(orchestrator, each, "completed")
        assert await orchestrator.forget(thirty_years) == 0
        log = (await orchestrator._ready()).log
        await log.database.execute("UPDATE cello_sagas SET ended_ms = 86400000 WHERE id = $1", old)
        assert await orchestrator.forget(thirty_years) == 1
        assert await orchestrator.get_execution(old) is None
        assert await orchestrator.get_execution(young) is not None


class Order(msgspec.Struct):
    number: int
    paid: bool = False


@dataclasses.dataclass
class Parcel:
    number: int
    paid: bool = False


@pytest.mark.parametrize("kind", [Order, Parcel])
async def test_a_context_may_be_a_class(store: str, kind: Any) -> None:
    async def pay(order: Any) -> None:
        assert isinstance(order, kind)
        order.paid = True

    saga = saga_of(SagaStep("pay", pay), context=kind)
    async with sagas(store, saga) as orchestrator:
        execution = await orchestrator.execute(saga.name, kind(7))
        assert execution.context == kind(7, True)
        assert (await orchestrator.get_execution(execution.id)).context == kind(7, True)  # type: ignore[union-attr]


async def test_what_cannot_be_kept_is_a_failure_that_is_undone(store: str) -> None:
    undone = []
    saga = saga_of(SagaStep("odd", lambda context: context.update(socket=object()), undone.append))
    async with sagas(store, saga) as orchestrator:
        with pytest.raises(SagaError, match="it was done, but what it leaves cannot be kept"):
            await orchestrator.execute(saga.name)
    assert undone == [{}]


async def test_an_execution_goes_on_when_nobody_waits_for_it_any_more(store: str) -> None:
    here, go = asyncio.Event(), asyncio.Event()

    async def slow(context: Any) -> None:
        here.set()
        await go.wait()

    saga = saga_of(SagaStep("slow", slow))
    async with sagas(store, saga) as orchestrator:
        waiting = asyncio.create_task(orchestrator.execute(saga.name))
        await here.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        (found,) = await orchestrator.list_executions(saga.name)
        assert (await orchestrator.wait(found.id, 30)).status == "completed"


async def test_changes_are_told(store: str) -> None:
    seen, saga = [], saga_of(Shop().step("a"), Shop().step("b"))
    async with sagas(store, saga) as orchestrator:
        orchestrator.on_change(lambda execution: seen.append(statuses(execution)))

        @orchestrator.on_change
        async def broken(execution: Any) -> None:
            raise ValueError("of no matter")

        await orchestrator.execute(saga.name)
    assert seen == [
        {"a": "pending", "b": "pending"},
        {"a": "running", "b": "pending"},
        {"a": "completed", "b": "running"},
        {"a": "completed", "b": "completed"},
    ]


@obeys("enable_logging")
@pytest.mark.parametrize("enable_logging", [True, False])
async def test_transitions_are_logged(enable_logging: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cello.saga")
    saga = saga_of(Shop().step("reserve"))
    async with sagas("memory", saga, enable_logging=enable_logging) as orchestrator:
        execution = await orchestrator.execute(saga.name)
    assert (f"{saga.name} {execution.id}: step reserve completed" in caplog.messages) is enable_logging


@obeys("max_concurrent")
async def test_no_more_are_resumed_at_once_than_the_config_says(tmp_path: Any) -> None:
    store, at_once, most = f"sqlite:///{tmp_path}/a.db", [0], [0]

    async def act(context: Any) -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        await asyncio.sleep(0.02)
        at_once[0] -= 1

    saga = saga_of(Sleep(0.01), SagaStep("act", act))
    beginning = sagas(store, saga)
    ids = [(await beginning.execute(saga.name)).id for _ in range(9)]
    await beginning.close()
    async with sagas(store, saga, max_concurrent=3) as orchestrator:
        for execution_id in ids:
            await until(orchestrator, execution_id, "completed")
    assert most == [3]


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: SagaOrchestrator().register(Saga("empty")), "saga 'empty' has no steps"),
    "two of one name": (
        lambda: SagaOrchestrator().register(saga_of(Shop().step("a"), Shop().step("a"))),
        "two steps named 'a'",
    ),
    "no saga": (lambda: SagaOrchestrator().register(5), "takes a Saga, not 5"),  # type: ignore[arg-type]
    "something else as a step": (lambda: SagaOrchestrator().register(saga_of(5)), "a step is a SagaStep, not 5"),
    "an action of three": (lambda: SagaStep("a", lambda a, b, c: None), "must take the context, or"),
    "no function": (lambda: SagaStep("a", None), "its action is a function, not None"),  # type: ignore[arg-type]
    "a timeout of nothing": (lambda: SagaStep("a", print, timeout=0), "timeout must be above 0 s"),
    "a context of no class": (
        lambda: SagaOrchestrator().register(saga_of(Shop().step("a"), context=int)),
        "its context is dict, a dataclass",
    ),
    "a store of no kind": (lambda: SagaConfig(store="oracle://x"), 'SagaConfig.store is "memory", "database" or'),
    "a config of another kind": (lambda: SagaOrchestrator({"max_retries": 1}), "takes a SagaConfig"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("act", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused(act: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        act()


async def test_a_saga_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="no saga is registered with the name 'x'"):
        await SagaOrchestrator().execute("x")
