"""The figures of the performance page: charts and tables drawn from the files in `bench/results/`.

The page itself is written by hand; what stands between its two markers is replaced. Nothing is computed here that
`bench.load` does not compute, and where nothing was measured yet the page says so.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from bench.load import chart, machine, report, results
from bench.load.places import RESULTS
from bench.load.results import Result, spread

OURS = ("cello", "cello-graphql")
"""The peers of a run that are cello as one installs it."""
PAGE = "performance.md"
PLACE = re.compile(r"<!-- figures -->.*<!-- end of figures -->", flags=re.DOTALL)
CHARTED = ("json", "async", "param", "post", "plaintext", "websocket")
"""The workloads whose charts stand open on the page; those of all others are folded."""


def write(pages: Path, folder: Path = RESULTS) -> None:
    """Put the figures into the page.

    Args:
        pages: The folder of the site's pages, which gets the charts too.
        folder: Where the results are.
    """
    page = pages / PAGE
    if not page.exists():
        return
    made = "\n".join(figures(folder, pages / "assets"))
    text, count = PLACE.subn(lambda _: made, page.read_text("utf-8"))
    if count != 1:
        raise ValueError(f"{PAGE} has {count} places for figures, not one: {PLACE.pattern!r}")
    page.write_text(text, "utf-8")


def figures(folder: Path, assets: Path) -> Iterator[str]:
    """Give the lines of all figures, and write the charts they show."""
    runs = [results.load(path) for path in sorted(folder.glob("*-load.json"), reverse=True)]
    compared = list(broadest_by_workload(runs))
    if compared:
        yield from comparison(compared, assets)
    else:
        yield from (
            '!!! note "Nothing is stored yet"',
            "",
            "    `bench/results/` holds no run against other frameworks. `make bench-load` makes one: it takes a",
            "    quiet machine and some minutes, and this page draws it.",
            "",
        )
    switches = next((run for run in runs if any(name.startswith("cello+") for name in run.peers)), None)
    if switches is not None:
        yield from costs(switches)
    yield from sheets(folder)


def rivals_of(run: Result) -> list[str]:
    """Return the peers of a run that are neither cello nor the floor."""
    ours = re.compile(r"(?!cello-framework)cello|floor")
    return [name for name in run.peers if not ours.match(name)]


def broadest_by_workload(runs: list[Result]) -> Iterator[Result]:
    """Give the runs against others, each with the workloads that it has most figures of; the newer of equals.

    Args:
        runs: The newest first.
    """
    chosen: dict[str, Result] = {}
    for run in runs:
        for name in run.workloads:
            if breadth(run, name) > (breadth(chosen[name], name) if name in chosen else 0):
                chosen[name] = run
    for run in runs:
        names = [name for name, best in chosen.items() if best is run]
        if names:
            yield run.only(names)


def breadth(run: Result, workload: str) -> int:
    """Return how many servers have a figure at a workload; 0 where all are cello or the floor."""
    return sum(cell.counts for cell in run.cells[workload].values()) if rivals_of(run) else 0


def comparison(runs: list[Result], assets: Path) -> Iterator[str]:
    """Give the charts of runs against others, where cello is not the cheapest, and the runs' own tables."""
    assets.mkdir(parents=True, exist_ok=True)
    for run in sorted(runs, key=lambda run: len(run.workloads), reverse=True):
        yield from (f"*{run.date[:10]}, {machine.summary(run.machine)}. {report.noise(run)}*", "")
        yield from charts(run, assets)
    yield from ("### Where we lose", "")
    yield from [line for run in runs for line in losses(run)] or [
        "In these runs no rival needed less CPU time per request than cello."
    ]
    yield ""
    for run in runs:
        yield from to_the_floor(run)
    for run in runs:
        yield from ('??? abstract "The tables of this run, with every spread and version"', "")
        tables = report.markdown(run).split("\n", 1)[1]
        yield from (f"    {line}".rstrip() for line in re.sub(r"^## (.+)$", r"**\1**", tables, flags=re.M).splitlines())
        yield ""


def charts(run: Result, assets: Path) -> Iterator[str]:
    """Give the charts of a run, and write them."""
    for name in sorted(run.workloads, key=lambda name: (CHARTED + tuple(run.workloads)).index(name)):
        (assets / f"load-{name}.svg").write_text(chart.draw(run, [name]), "utf-8")
        image = f"![{run.workloads[name]}: server CPU time per request by framework](assets/load-{name}.svg)"
        if name in CHARTED:
            yield from (image, "")
        else:
            yield from (f'??? note "{run.workloads[name]}"', "", f"    {image}", "")


def losses(run: Result) -> Iterator[str]:
    """Give every rival that needs less CPU time than cello at a workload, as a list."""
    for workload, title in run.workloads.items():
        if run.reference(workload) not in OURS:
            yield f"* {title}: cello has no figures in this run."
            continue
        for name in rivals_of(run):
            if name in run.cells[workload] and run.cells[workload][name].counts:
                ratio, low, high = spread(run.ratios(workload, name))
                if ratio < 1:
                    yield f"* {title}: {run.peers[name]} needs {ratio:.2f} of cello's CPU time ({low:.2f}–{high:.2f})."


def to_the_floor(run: Result) -> Iterator[str]:
    """Give a sentence on how far cello is from what no framework can be below."""
    shares = [
        f"{spread(run.ratios(workload, 'floor'))[0]:.0%} at {workload}"
        for workload, row in run.cells.items()
        if run.reference(workload) == "cello" and "floor" in row and row["floor"].counts
    ]
    if shares:
        yield from (f"The C floor needs less, of course: {', '.join(shares)} of cello's CPU time.", "")


def costs(run: Result) -> Iterator[str]:
    """Give the table of what each switch adds to a request."""
    yield from ("## What a switch costs", "", f"*{run.date[:10]}, {machine.summary(run.machine)}*", "")
    for workload, title in run.workloads.items():
        cells = run.cells[workload]
        if "cello" not in cells or not cells["cello"].counts:
            continue
        plain, _, _ = spread(cells["cello"].cpu_us)
        yield from (f"| {title} | CPU time per request, µs | more than without, µs |", "|---|---:|---:|")
        yield f"| nothing enabled | {plain:.2f} | |"
        for name, cell in cells.items():
            if name.startswith("cello+") and cell.counts:
                median, _, _ = spread(cell.cpu_us)
                yield f"| {run.peers[name].removeprefix('cello + ')} | {median:.2f} | {median - plain:+.2f} |"
        yield ""


def sheets(folder: Path) -> Iterator[str]:
    """Give the newest table of each other kind: start, memory, guests, imports, statements."""
    newest: dict[str, Path] = {}
    for path in sorted(folder.glob("*.json")):
        kind = re.sub(r"^[\dT-]+-", "", path.stem)  # behind the date
        if kind != "load":
            newest[kind] = path
    for path in newest.values():
        table = path.with_suffix(".md")
        if "columns" in json.loads(path.read_text("utf-8")) and table.exists():
            yield from (re.sub(r"^# ", "## ", table.read_text("utf-8"), flags=re.M), "")
    for path in sorted(folder.glob("*.txt")):
        title, _, rest = path.read_text("utf-8").partition("\n")
        yield from (f'??? abstract "{title.lstrip("# ")}"', "", "    ```text")
        yield from (f"    {line}" for line in rest.rstrip().splitlines())
        yield from ("    ```", "")
