"""Is each answer right? Asked before anything is timed: a wrong answer has no speed."""

import json

from bench.load.client import TIMEOUT_S, Answer, Connection
from bench.load.workloads import Exchange, Workload

# With many exchanges, such as the 4096 users, this many spread over them are asked one by one.
SAMPLE = 64


def why_wrong(workload: Workload, port: int) -> str | None:
    """Return what is wrong with a server's answers to a workload, or None.

    WebSocket answers are checked by the load generator alone, which reads every frame.
    """
    if workload.websocket:
        return None
    step = max(1, len(workload.exchanges) // SAMPLE)
    exchanges = workload.exchanges[::step]
    if len(exchanges) == 1:
        exchanges *= 2 * workload.pipeline
    try:
        with Connection(port) as connection:
            for at in range(0, len(exchanges), workload.pipeline):
                batch = exchanges[at : at + workload.pipeline]
                connection.send(b"".join(exchange.request for exchange in batch))
                for exchange in batch:
                    if wrong := _judge(exchange, connection.receive()):
                        return wrong
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _judge(exchange: Exchange, answer: Answer) -> str | None:
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:80].decode(errors='replace')}"
    if missing := [name for name in exchange.fields if name not in answer.fields]:
        return f"no {', '.join(missing)}"
    if isinstance(exchange.expected, str):
        body: object = answer.body.decode(errors="replace")
    else:
        try:
            body = json.loads(answer.body)
        except ValueError:
            return f"not JSON: {answer.body[:80]!r}"
    return None if body == exchange.expected else f"body {str(body)[:60]!r}"
