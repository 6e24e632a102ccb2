"""Work left for after the answer."""

import pytest

from cello.http.background import BackgroundTasks


def test_tasks_are_taken_in_order_and_once() -> None:
    tasks = BackgroundTasks()
    tasks.add_task(print, 1, sep="x")
    tasks.add_task(len, "ab")
    assert tasks.pending_count() == 2
    assert [task[:3] for task in tasks.take()] == [(print, (1,), {"sep": "x"}), (len, ("ab",), {})]
    assert tasks.pending_count() == 0
    assert tasks.take() == []


def test_plain_tasks_can_be_run_by_hand() -> None:
    seen: list[int] = []
    tasks = BackgroundTasks()
    tasks.add_task(seen.append, 1)
    tasks.add_task(seen.append, 2)
    tasks.run_all()
    assert seen == [1, 2]


def test_running_by_hand_refuses_coroutine_functions_before_anything_ran() -> None:
    seen: list[int] = []

    async def later() -> None:
        raise AssertionError

    tasks = BackgroundTasks()
    tasks.add_task(seen.append, 1)
    tasks.add_task(later)
    with pytest.raises(TypeError, match="must be awaited"):
        tasks.run_all()
    assert seen == []


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="callable"):
        BackgroundTasks().add_task("nope")  # type: ignore[arg-type]
