"""Every record that is logged while a request runs says which one."""

import contextvars
import logging

import pytest

import cello
from cello import App, BackgroundTasks, Depends, Response
from cello.features.log_context import RecordStamp, parse_trace_id

logger = logging.getLogger("shop")
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "abc-123"}


def make_app(coloured, *switches, **route):
    app = App()
    for switch in switches:
        getattr(app, f"enable_{switch}")()

    @app.get("/buy/{item}", **route)
    @coloured
    def buy(item):
        logger.warning("bought %s", item)
        return "ok"

    return app


def of(caplog, name="shop"):
    return [(r.request_id, r.trace_id, r.route) for r in caplog.records if r.name == name]


@pytest.mark.parametrize("order", [("logging", "request_id"), ("request_id", "logging")], ids="-then-".join)
def test_a_record_of_a_handler_carries_all_three(serve, coloured, caplog, order):
    with serve(make_app(coloured, *order)) as client:
        client.get("/buy/tea", headers=HEADERS)
    assert of(caplog) == [("abc-123", TRACE, "/buy/{item}")]


def test_request_ids_alone_are_enough(serve, coloured, caplog):
    with serve(make_app(coloured, "request_id")) as client:
        client.get("/buy/tea", headers=HEADERS)
    assert of(caplog) == [("abc-123", TRACE, "/buy/{item}")]


def test_a_path_that_is_not_in_the_access_log_has_its_records_marked_too(serve, coloured, caplog):
    app = make_app(coloured)
    app.enable_logging(exclude_paths=["/buy"])
    with serve(app) as client:
        client.get("/buy/tea", headers=HEADERS)
    assert of(caplog) == [("-", TRACE, "/buy/{item}")]


def test_a_handler_on_a_thread_is_no_exception(serve, caplog):
    with serve(make_app(lambda handler: handler, "logging", blocking=True)) as client:
        client.get("/buy/tea", headers=HEADERS)
    assert of(caplog) == [("-", TRACE, "/buy/{item}")]


def test_what_cello_logs_about_an_error_is_marked_too(serve, coloured, caplog):
    app = make_app(coloured, "logging")

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("no")

    with serve(app) as client:
        client.get("/broken", headers=HEADERS)
    assert of(caplog, "cello.error") == [("-", TRACE, "/broken")]


def test_tracing_may_say_which_trace_it_is(serve, coloured, caplog):
    app = make_app(coloured, "logging")
    app.before_request(lambda request: request.set_context("trace_id", "f" * 32))
    with serve(app) as client:
        client.get("/buy/tea", headers=HEADERS)
    assert of(caplog) == [("-", "f" * 32, "/buy/{item}")]
    assert [record.trace_id for record in caplog.records if record.name == "cello.access"] == ["f" * 32]


def test_outside_of_requests_records_have_the_fields_and_afterwards_they_are_as_before(serve, caplog):
    before = logging.getLogRecordFactory()
    with serve(make_app(lambda handler: handler, "logging")):
        logger.warning("idle")
    assert of(caplog) == [("-", "-", "-")]
    assert logging.getLogRecordFactory() is before


def test_two_applications_may_end_in_any_order():
    before = logging.getLogRecordFactory()
    first, second = RecordStamp(), RecordStamp()
    first.start()
    second.start()
    first.stop()
    assert logger.makeRecord("shop", 30, "", 0, "x", (), None).route == "-"
    second.stop()
    assert not hasattr(logger.makeRecord("shop", 30, "", 0, "x", (), None), "route")
    first.start()
    first.stop()
    assert logging.getLogRecordFactory() is before


def test_the_filter_serves_formats_that_name_the_fields_at_any_time():
    record = logging.makeLogRecord({"msg": "x", "route": "/own"})
    assert cello.RequestFields().filter(record) is True
    assert (record.request_id, record.trace_id, record.route) == ("-", "-", "/own")


def test_what_a_record_says_already_stays():
    record = logging.makeLogRecord({"request_id": "a", "trace_id": "b", "route": "c"})
    cello.RequestFields().filter(record)
    assert (record.request_id, record.trace_id, record.route) == ("a", "b", "c")


TRACEPARENTS = {
    "a trace": (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
    "a later version": (f"01-{TRACE}-b7ad6b7169203331-01-more", TRACE),
    "an invalid version": (f"ff-{TRACE}-b7ad6b7169203331-01", ""),
    "a trace of zeros": (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
    "a parent of zeros": (f"00-{TRACE}-{'0' * 16}-01", ""),
    "capitals": (f"00-{TRACE.upper()}-b7ad6b7169203331-01", ""),
    "something else": ("abc\n", ""),
}


@pytest.mark.parametrize(("value", "expected"), TRACEPARENTS.values(), ids=TRACEPARENTS.keys())
def test_a_trace_id_is_taken_only_where_it_is_one(value, expected):
    assert parse_trace_id(value.encode()) == expected


def test_what_follows_an_answer_is_marked_too(serve, coloured, caplog):
    """Streams, the clean-up of dependencies, background tasks, and what is logged when one of those fails."""
    app = App()
    app.enable_request_id()

    def resource():
        yield 1
        logger.warning("cleaned up")

    @coloured
    def later(fails):
        logger.warning("later")
        if fails:
            raise LookupError

    @app.get("/tasks")
    @coloured
    def tasks(used=Depends(resource)):
        response = Response.text("x")
        response.background = BackgroundTasks()
        response.background.add_task(later, False)
        response.background.add_task(later, True)
        return response

    @app.get("/stream")
    @coloured
    def stream():
        logger.warning("one")
        yield "one"
        logger.warning("two")
        yield "two"

    with serve(app) as client:
        client.get("/tasks", headers=HEADERS)
        client.get("/stream", headers=HEADERS)
        client.wait_for_background()
    assert sorted(of(caplog)) == [("abc-123", TRACE, "/stream")] * 2 + [("abc-123", TRACE, "/tasks")] * 3
    assert of(caplog, "cello.pipeline") == [("abc-123", TRACE, "/tasks")]


def test_background_tasks_do_not_see_what_others_set(serve, coloured):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []
    app = App()

    @coloured
    def task(value):
        seen.append(variable.get())
        variable.set(value)

    @app.get("/")
    @coloured
    def handler():
        variable.set("the request's")
        response = Response.text("x")
        response.background = BackgroundTasks()
        response.background.add_task(task, "first")
        response.background.add_task(task, "second")
        return response

    with serve(app) as client:
        client.get("/")
        client.wait_for_background()
    assert seen == ["the request's", "the request's"]
