"""Metrics and spans of the commands that go to Redis, for whichever feature exports them.

Both say which command it was, never its keys or values.
"""

from cello.extension import Host
from cello.shared.meter import Row

BUCKETS_S = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MOST_COMMANDS = 100
OTHER = "OTHER"


class RedisCommands:
    """What a Redis client tells of its commands.

    Args:
        host: Its metrics count the times, its spans show them.
    """

    def __init__(self, host: Host) -> None:
        self._spans = host.spans
        text = "How long commands to Redis took, in seconds."
        self._durations = host.metric(
            "histogram", "redis_command_duration_seconds", text, ("command", "outcome"), BUCKETS_S
        )
        self._running = host.metric(
            "gauge", "redis_commands_running", "Commands that wait for their answer."
        ).labelled()
        self._rows: dict[tuple[str, bool], Row] = {}

    def begin(self, command: str) -> None:
        """Count a command in."""
        self._running.add()

    def end(self, command: str, seconds: float, error: BaseException | None) -> None:
        """Count it out, and trace it where its request is traced."""
        self._running.add(-1)
        row = self._rows.get((command, error is None))
        if row is None:
            row = self._row(command, is_ok=error is None)
        row.observe(seconds)
        if self._spans.is_recording:
            name = command.upper()
            attributes = {"db.system.name": "redis", "db.operation.name": name}
            self._spans.record(name, "client", attributes, seconds, error, library="redis")

    def _row(self, command: str, *, is_ok: bool) -> Row:
        name = command.upper() if len(self._rows) < MOST_COMMANDS else OTHER
        row = self._durations.labelled(name, "ok" if is_ok else "error")
        if name != OTHER:
            self._rows[command, is_ok] = row
        return row
