"""Calls by grpc's own client, with stubs that were generated from the exported `.proto`."""

import json
import threading
import time
import urllib.request

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2

from cello.grpc.details import KEY, unpack


@pytest.fixture
def refused(stub):
    """Call a method that fails; return code, sentence, details and trailing metadata."""

    def call(method, request, **options):
        with pytest.raises(grpc.RpcError) as caught:
            method(request, **options)
        error = caught.value
        metadata = dict(error.trailing_metadata() or ())
        return error.code().name, error.details(), unpack(metadata.pop(KEY, None)), metadata

    return call


def state(site):
    with urllib.request.urlopen(f"{site.http}/state") as answer:
        return json.load(answer)


def eventually(is_so):
    """Ask until it is so, for half a minute at most."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def everything(messages, **changed):
    made = messages.Everything(
        whole=-(2**62),
        small=2**32 - 1,
        ratio=0.5,
        flag=True,
        text="é😀",
        data=b"\0\xff",
        mood=messages.MOOD_LARGO,
        size=messages.SIZE_LARGE,
        key="7b0e2c4e-5d0f-4b43-9a43-0a2ad7f7e1c2",
        price=messages.Price(amount="1.10"),
        maker=messages.Maker(name="Amati", born=1505),
        tag=messages.Tag(key="k", value="v"),
        names=["a", "b"],
        makers=[messages.Maker(name="Stradivari")],
        scores={"x": 1.5},
        by_name={"g": messages.Maker(name="Guarneri")},
        limit=0,
    )
    made.moment.FromJsonString("2026-01-02T03:04:05.5Z")
    made.span.FromJsonString("90.5s")
    made.extra.update({"any": [1, None, "x", True, {"deep": 0.5}]})
    made.any.string_value = "whatever"
    made.next.ParseFromString(made.SerializeToString())
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def test_every_kind_of_field_comes_back_as_it_was_sent(stub, messages):
    sent = everything(messages)
    got = stub.Mirror(sent)
    sent.price.currency = sent.next.price.currency = "EUR"  # its default, which Python knows
    assert got == sent


def test_what_is_absent_is_what_python_says(stub, messages):
    sent = everything(messages)
    for field in ("maybe", "limit", "next", "names", "makers", "scores"):
        sent.ClearField(field)
    got = stub.Mirror(sent)
    assert (got.HasField("maybe"), got.limit, got.HasField("next"), list(got.names)) == (False, 10, False, [])


INVALID = {
    "a text that is no UUID": ({"key": "nope"}, "key", "must be a UUID"),
    "an enum's number that there is not": ({"mood": 9}, "mood", "must be one of ALLEGRO, LARGO"),
    "an enum that is absent": ({"mood": 0}, "mood", "must be one of ALLEGRO, LARGO"),
}


@pytest.mark.parametrize(("changed", "field", "words"), INVALID.values(), ids=INVALID.keys())
def test_a_value_that_does_not_fit_is_invalid_and_named(stub, messages, refused, changed, field, words):
    code, sentence, [details], _ = refused(stub.Mirror, everything(messages, **changed))
    assert (code, sentence) == ("INVALID_ARGUMENT", f"{field} {words}")
    assert [(each.field, each.description) for each in details.field_violations] == [(field, words)]


def test_constraints_of_models_hold(stub, messages, refused):
    sent = everything(messages)
    sent.maker.name = "A"
    assert refused(stub.Mirror, sent)[:2] == ("INVALID_ARGUMENT", "maker.name must have at least 2 characters")
    sent = everything(messages)
    sent.price.amount = "-1"
    assert refused(stub.Mirror, sent)[1].startswith("price.amount input should be greater than or equal to 0")
    sent = everything(messages)
    sent.next.ClearField("maker")
    assert refused(stub.Mirror, sent)[1] == "next.maker is required"


def test_untyped_methods_take_and_give_structs(channel):
    call = channel.unary_unary(
        "/UserService/GetUser", struct_pb2.Struct.SerializeToString, struct_pb2.Struct.FromString
    )
    sent = struct_pb2.Struct()
    sent.update({"id": 7})
    got = call(sent)
    assert dict(got.items())["id"] == 7
    assert list(got["nested"])[:3] == [1, 2.5, None]
    stream = channel.unary_stream(
        "/UserService/ListUsers", struct_pb2.Struct.SerializeToString, struct_pb2.Struct.FromString
    )
    sent.update({"count": 3})
    assert [each["id"] for each in stream(sent)] == [0, 1, 2]


def test_plain_methods_parameters_and_nothing(stub, messages):
    assert stub.Plain(messages.UserId(id=3)) == messages.User(id=3, name="plain")
    assert stub.add(messages.AddRequest(left=1)).value == 6
    assert stub.add(messages.AddRequest(left=1, right=0)).value == 1
    assert stub.Nothing(empty_pb2.Empty()) == empty_pb2.Empty()


def test_a_response_with_a_status(stub, refused):
    sent = struct_pb2.Struct()
    sent.update({"fail": False})
    answer, call = stub.Respond.with_call(sent)
    assert (answer["fine"], dict(call.trailing_metadata())["x-more"]) == (True, "more")
    sent.update({"fail": True})
    assert refused(stub.Respond, sent)[:2] == ("ABORTED", "not now")


def test_metadata_goes_both_ways(stub, messages):
    answer, call = stub.Get.with_call(messages.UserId(id=1), metadata=[("x-name", "Ada")])
    assert answer.name == "Ada"
    assert dict(call.initial_metadata())["x-early"] == "yes"
    trailing = dict(call.trailing_metadata())
    assert trailing["x-served-by"] == "shop"
    assert trailing["x-request-id"]


ERRORS = {
    "a GrpcError": (404, "NOT_FOUND", "there is no such user", [[{"id": 404}, "look elsewhere"]]),
    "an HTTPError": (405, "NOT_FOUND", "Gone for good.", [[]]),
    "anything else": (500, "INTERNAL", "Internal Server Error", [[]]),
}


@pytest.mark.parametrize(("id", "code", "sentence", "details"), ERRORS.values(), ids=ERRORS.keys())
def test_what_a_method_raises_is_a_status(site, stub, messages, refused, id, code, sentence, details):
    got = refused(stub.Get, messages.UserId(id=id))
    assert got[:2] == (code, sentence)
    assert [got[2]] == details
    assert "hunter2" not in str(got)


def test_a_method_that_there_is_not_is_unimplemented(channel, site):
    for path in ("/shop.v1.Shop/Nope", "/nope.Nope/Nope", "/UserService/Later"):
        call = channel.unary_unary(path, lambda content: content, lambda content: content)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "nothing answers Later" in site.program.output


def test_a_payload_that_is_no_message_is_invalid(channel, stub, messages):
    call = channel.unary_unary("/shop.v1.Shop/Get", lambda content: content, lambda content: content)
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "The message is no shop.v1.UserId."
    assert stub.Get(messages.UserId(id=1)).id == 1


def test_streams_of_all_kinds(stub, messages):
    ids = [messages.UserId(id=number) for number in (1, 2, 3)]
    assert [each.id for each in stub.Count(messages.UserId(id=2))] == [0, 1]
    assert [each.id for each in stub.Count(messages.UserId(id=0))] == []
    assert [each.id for each in stub.Countdown(messages.UserId(id=3))] == [3, 2, 1]
    assert stub.Sum(iter(ids)).id == stub.SumPlainly(iter(ids)).id == 6
    assert stub.Sum(iter([])).id == 0
    assert [(each.id, each.name) for each in stub.Echo(iter(ids))] == [(1, "echo"), (2, "echo"), (3, "echo")]
    assert [each.name for each in stub.EchoPlainly(iter(ids))] == ["plain echo"] * 3


def test_a_stream_that_fails_gives_what_it_had(stub, messages):
    for size, code, sentence in ((3, "DATA_LOSS", "no more"), (4, "INTERNAL", "Internal Server Error")):
        answers = stub.Count(messages.UserId(id=size))
        assert [next(answers).id for _ in range(size)] == list(range(size))
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        assert (caught.value.code().name, caught.value.details()) == (code, sentence)


def test_answers_come_while_messages_are_still_sent(stub, messages):
    asked, answered = [], []

    def ids():
        for number in (1, 2):
            asked.append(number)
            yield messages.UserId(id=number)
            while len(answered) < number:
                time.sleep(0.01)

    for each in stub.Echo(ids()):
        answered.append(each.id)  # noqa: PERF401  # the generator above looks at it meanwhile
    assert answered == asked == [1, 2]


def test_a_deadline_is_told_and_cancels_the_method(site, stub, messages, refused):
    before = state(site)["cancelled"]
    assert refused(stub.Sleep, messages.UserId(id=1), timeout=1)[0] == "DEADLINE_EXCEEDED"
    assert eventually(lambda: state(site)["cancelled"] == before + 1)
    assert 0 < state(site)["remaining"] < 2


def test_a_client_that_cancels_ends_the_method(site, stub, messages):
    before = state(site)
    call = stub.Forever(messages.UserId(id=1))
    assert next(call).name == "again"
    assert eventually(lambda: state(site)["open"] == before["open"] + 1)
    call.cancel()
    assert eventually(lambda: state(site)["closed"] == before["closed"] + 1)
    sleeping = stub.Sleep.future(messages.UserId(id=1))
    assert eventually(lambda: state(site)["remaining"] is None)  # it is under way, and has no deadline
    sleeping.cancel()
    assert eventually(lambda: state(site)["cancelled"] == before["cancelled"] + 1)


def test_a_plain_method_that_waits_for_messages_ends_when_its_client_leaves(site, stub, messages):
    before = state(site)["sums"]
    left = threading.Event()

    def ids():
        yield messages.UserId(id=1)
        left.wait(30)

    call = stub.SumPlainly.future(ids())
    assert stub.Plain(messages.UserId(id=1)).id == 1
    call.cancel()
    left.set()
    assert eventually(lambda: state(site)["sums"] == before + 1)


def test_a_message_beyond_the_limit_is_refused_both_ways(stub, messages, refused):
    large = messages.Everything(text="x" * 4_194_304)
    assert refused(stub.Mirror, large)[0] == "RESOURCE_EXHAUSTED"
    assert refused(stub.Big, messages.BigRequest(size=4_194_304))[0] == "RESOURCE_EXHAUSTED"
    assert len(stub.Big(messages.BigRequest(size=1_000_000)).value) == 1_000_000


def test_guards_are_asked_and_see_the_metadata(channel):
    call = channel.unary_unary("/Guarded/WhoAmI", struct_pb2.Struct.SerializeToString, struct_pb2.Struct.FromString)
    with pytest.raises(grpc.RpcError) as caught:
        call(struct_pb2.Struct())
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.PERMISSION_DENIED, "Not for you.")
    got = call(struct_pb2.Struct(), metadata=[("authorization", "Bearer ada")])
    assert got["path"] == "/Guarded/WhoAmI"
    assert got["peer"].startswith("ipv4:127.0.0.1:")


def test_calls_are_counted_and_timed(site, stub, messages):
    stub.Plain(messages.UserId(id=1))
    with urllib.request.urlopen(f"{site.http}/metrics") as answer:
        text = answer.read().decode()
    assert 'cello_grpc_calls_total{method="/shop.v1.Shop/Plain",code="OK"}' in text
    assert 'route="/shop.v1.Shop/Plain"' in text


def test_health_of_http_and_of_grpc(site, channel):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "shop.v1.Shop", "UserService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        stub.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert next(stub.Watch(health_pb2.HealthCheckRequest(service="UserService"))).status == 1
    with urllib.request.urlopen(f"{site.http}/health") as answer:
        assert "grpc" in answer.read().decode()
