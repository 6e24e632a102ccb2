"""What telemetry adds to a request: one that is sampled, and one that is not."""

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from cello.features.telemetry.durations import Durations
from cello.features.telemetry.settings import Sampling
from cello.features.telemetry.spans import ServerSpans
from cello.http.request import Request
from cello.http.response import Response

KINDS = {"unsampled": (0.0, False), "unsampled, timed": (0.0, True), "sampled, timed": (1.0, True)}


@pytest.mark.benchmark(group="telemetry")
@pytest.mark.parametrize(("rate", "timed"), KINDS.values(), ids=KINDS.keys())
def test_request(benchmark, rate, timed):
    spans = ServerSpans(Sampling(True, rate), (), Durations() if timed else None)
    spans.tracer = TracerProvider(ALWAYS_ON, shutdown_on_exit=False).get_tracer("bench")
    before, after = spans.before, spans.after
    request, response = Request("GET", "/users/7"), Response("hi")
    response.settle(request)
    request.context["user"] = None

    def hooks():
        before(request)
        after(request, response)

    benchmark(hooks)
    assert not spans.active
