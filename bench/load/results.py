"""What a run found, as plain data that goes to JSON and back, and the few numbers drawn from it.

Every number shown anywhere (terminal, Markdown, chart) is computed here from the samples of the rounds.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

REFERENCES = ("cello", "floor")
"""Whom ratios are taken against: the first of these that took part."""


@dataclasses.dataclass(slots=True)
class Cell:
    """One peer at one workload.

    Attributes:
        cpu_us: Server CPU time per request, microseconds; one sample per round.
        per_second: Requests per second, one sample per round.
        disturbed: Share of the server's processor that other programs took, one sample per round.
        requests: Timed requests of all rounds.
        reconnects: Connections the server closed in them.
        fails: Why it has no figures though it tried, or "".
        skipped: Why it does not take part, or "".
    """

    cpu_us: list[float] = dataclasses.field(default_factory=list)
    per_second: list[float] = dataclasses.field(default_factory=list)
    disturbed: list[float] = dataclasses.field(default_factory=list)
    requests: int = 0
    reconnects: int = 0
    fails: str = ""
    skipped: str = ""

    @property
    def counts(self) -> bool:
        """Whether it has figures."""
        return bool(self.cpu_us) and not self.fails


@dataclasses.dataclass(slots=True)
class Result:
    """One run of the comparison.

    Attributes:
        date: When it began, ISO 8601 with offset.
        machine: As `machine.describe` saw it.
        settings: Rounds, seconds, connections, processors, Python.
        peers: Title by name, in the order of the table.
        versions: Installed distributions by peer.
        workloads: Title by name.
        cells: By workload, then by peer.
    """

    date: str
    machine: dict[str, str | int]
    settings: dict[str, str | int | float]
    peers: dict[str, str]
    versions: dict[str, dict[str, str]]
    workloads: dict[str, str]
    cells: dict[str, dict[str, Cell]]

    def only(self, workloads: Iterable[str]) -> "Result":
        """Return the same run with these workloads alone."""
        chosen = set(workloads)
        return dataclasses.replace(
            self,
            workloads={name: title for name, title in self.workloads.items() if name in chosen},
            cells={name: row for name, row in self.cells.items() if name in chosen},
        )

    def reference(self, workload: str) -> str | None:
        """Return the peer that the others are compared with at a workload."""
        row = self.cells[workload]
        candidates = [*REFERENCES, *row]
        return next((name for name in candidates if name in row and row[name].counts), None)

    def ratios(self, workload: str, peer: str) -> list[float]:
        """Return, per round, the peer's CPU time as a multiple of the reference's in the same round."""
        name = self.reference(workload)
        if name is None:
            return []
        row = self.cells[workload]
        return [theirs / ours for theirs, ours in zip(row[peer].cpu_us, row[name].cpu_us, strict=False)]

    def disturbance(self) -> float:
        """Return the median share of the server's processor that went to other programs."""
        samples = [sample for row in self.cells.values() for cell in row.values() for sample in cell.disturbed]
        return statistics.median(samples) if samples else 0.0

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Result:
    """Read what `Result.save` wrote."""
    data = json.loads(path.read_text())
    data["cells"] = {
        workload: {peer: Cell(**cell) for peer, cell in row.items()} for workload, row in data["cells"].items()
    }
    return Result(**data)


def spread(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return median, minimum and maximum."""
    return statistics.median(samples), min(samples), max(samples)
