"""A small table of medians with their spread, shown and saved: for everything that is not requests under load."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence

from bench.load import machine
from bench.load.places import RESULTS
from bench.load.results import spread
from bench.load.terminal import Terminal


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A measured quantity: its key, its heading with the unit, how many decimals are meant."""

    name: str
    heading: str
    decimals: int = 1


@dataclasses.dataclass(slots=True)
class Sheet:
    """Rows of samples under columns.

    Attributes:
        name: Ends the names of the result files.
        title: What was measured, one sentence.
        columns: In their order; the rows are sorted by the first one.
        rows: Samples by row title and column name.
        faults: Why a row has no figures, by row title.
        notes: Lines below the table.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)
    faults: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, row: str, samples: Mapping[str, float]) -> None:
        """Add one sample of each given column to a row."""
        cells = self.rows.setdefault(row, {})
        for name, value in samples.items():
            cells.setdefault(name, []).append(value)

    def show(self, terminal: Terminal) -> None:
        """Print it."""
        terminal.say()
        terminal.say(terminal.paint(self.title, "bold"))
        heading = "".join(f"{column.heading:>30}" for column in self.columns)
        terminal.say(terminal.paint(f"  {'':36}{heading}", "dim"))
        for row, cells in self._ranked():
            shown = "".join(f"{self._cell(cells, column):>30}" for column in self.columns)
            terminal.say(f"  {row:36.36}{shown}")
        for row, why in self.faults.items():
            terminal.say(f"  {row:36.36}" + terminal.paint(f"  fails: {why:.100}", "red"))
        for note in self.notes:
            terminal.say(terminal.paint(f"  {note}", "dim"))

    def save(self, terminal: Terminal) -> None:
        """Write it as JSON and as Markdown below `results/`, with date and machine."""
        now = datetime.datetime.now().astimezone()
        described = machine.describe()
        RESULTS.mkdir(exist_ok=True)
        stem = RESULTS / f"{now:%Y-%m-%dT%H%M}-{self.name}"
        data = {"date": now.isoformat(timespec="seconds"), "machine": described, **dataclasses.asdict(self)}
        stem.with_suffix(".json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        lines = [f"# {self.title}", "", f"{now:%Y-%m-%d %H:%M}, {machine.summary(described)}", ""]
        lines.append("| | " + " | ".join(column.heading for column in self.columns) + " |")
        lines.append("|---|" + "---:|" * len(self.columns))
        for row, cells in self._ranked():
            lines.append(f"| {row} | " + " | ".join(self._cell(cells, column) for column in self.columns) + " |")
        lines += [f"| {row} | fails: {why}" + " |" * len(self.columns) for row, why in self.faults.items()]
        lines += ["", *self.notes]
        stem.with_suffix(".md").write_text("\n".join(lines) + "\n")
        terminal.say(f"written: {stem}.json, .md")

    def _ranked(self) -> list[tuple[str, dict[str, list[float]]]]:
        first = self.columns[0].name
        return sorted(self.rows.items(), key=lambda row: spread(row[1][first])[0] if first in row[1] else 0.0)

    @staticmethod
    def _cell(cells: Mapping[str, list[float]], column: Column) -> str:
        if column.name not in cells:
            return "–"
        median, low, high = (f"{value:.{column.decimals}f}" for value in spread(cells[column.name]))
        return median if len(cells[column.name]) == 1 else f"{median} ({low}–{high})"
