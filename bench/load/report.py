"""A result in words: tables for the terminal and for Markdown. Nothing is computed here but rounding."""

from collections.abc import Iterator

from bench.load import machine, targets
from bench.load.results import Cell, Result, spread
from bench.load.terminal import Terminal

DISTURBED = 0.05
"""Above this share of foreign work on the server's processor a result says that it is a noisy one."""


def print_tables(result: Result, terminal: Terminal) -> None:
    """Print one table per workload, cheapest first, and how it stands with the targets."""
    for name, title in result.workloads.items():
        reference = result.reference(name)
        terminal.say()
        terminal.say(terminal.paint(title, "bold"))
        against = f"× {reference}" if reference else ""
        head = f"  {'':36}{'µs CPU/request':>16}{'min–max':>16}{against:>20}{'min–max':>14}{'requests/s':>13}"
        terminal.say(terminal.paint(head, "dim"))
        for peer, cell in _cheapest_first(result, name):
            terminal.say(_line(result, name, peer, cell, terminal))
    terminal.say()
    terminal.say(noise(result))


def _line(result: Result, workload: str, peer: str, cell: Cell, terminal: Terminal) -> str:
    title = f"{result.peers[peer]:36.36}"
    if not cell.counts:
        why = f"fails: {cell.fails}" if cell.fails else f"– ({cell.skipped})"
        return f"  {title}  " + terminal.paint(f"{why:.100}", "red" if cell.fails else "dim")
    cpu, cpu_low, cpu_high = spread(cell.cpu_us)
    rate, _, _ = spread(cell.per_second)
    ratio, ratio_low, ratio_high = spread(result.ratios(workload, peer))
    style, mark = _verdict(result, workload, peer, ratio)
    is_reference = peer == result.reference(workload)
    return (
        f"  {terminal.paint(title, 'bold') if peer == 'cello' else title}"
        f"{cpu:16.2f}{f'{cpu_low:.2f}–{cpu_high:.2f}':>16}"
        + terminal.paint(f"{'1' if is_reference else f'{ratio:.2f}{mark}':>20}", *style)
        + f"{'' if is_reference else f'{ratio_low:.2f}–{ratio_high:.2f}':>14}{rate:13,.0f}"
    )


def _verdict(result: Result, workload: str, peer: str, ratio: float) -> tuple[tuple[str, ...], str]:
    least = targets.least(peer, workload)
    if least is None or result.reference(workload) != "cello" or peer == "cello":
        return (), ""
    return (("green",), f" ≥ {least:g}") if ratio >= least else (("red",), f" < {least:g}")


def markdown(result: Result) -> str:
    """Return the whole result as a Markdown page."""
    return "\n".join(_markdown_lines(result)) + "\n"


def _markdown_lines(result: Result) -> Iterator[str]:
    settings = result.settings
    yield f"# CPU time per request, {result.date[:16].replace('T', ' ')}"
    yield ""
    yield f"* Machine: {machine.summary(result.machine)}; load average at the start {result.machine['load_average']}"
    yield (
        f"* Python {settings['python']}, one worker, access log off, 200 routes, {settings['connections']} keep-alive "
        f"connections; server on processor {settings['server_core']}, load generator on {settings['client_core']}"
    )
    yield f"* Medians of {settings['rounds']} interleaved rounds of {settings['seconds']} s, with minimum and maximum"
    yield f"* {noise(result)}"
    for name, title in result.workloads.items():
        reference = result.reference(name)
        yield ""
        yield f"## {title}"
        yield ""
        yield f"| | µs CPU per request | min–max | × {reference} | min–max | requests/s |"
        yield "|---|---:|---:|---:|---:|---:|"
        for peer, cell in _cheapest_first(result, name):
            yield _markdown_row(result, name, peer, cell)
    yield ""
    yield "## Versions"
    yield ""
    for peer, versions in result.versions.items():
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield f"* {result.peers[peer]}: {listed or 'compiled from this checkout'}"


def _markdown_row(result: Result, workload: str, peer: str, cell: Cell) -> str:
    title = result.peers[peer]
    if not cell.counts:
        why = f"fails: `{cell.fails[:120]}`" if cell.fails else f"– ({cell.skipped})"
        return f"| {title} | {why.replace('|', '¦')} | | | | |"
    cpu, cpu_low, cpu_high = spread(cell.cpu_us)
    ratio, ratio_low, ratio_high = spread(result.ratios(workload, peer))
    rate, _, _ = spread(cell.per_second)
    return (
        f"| {title} | {cpu:.2f} | {cpu_low:.2f}–{cpu_high:.2f} | {ratio:.2f} | {ratio_low:.2f}–{ratio_high:.2f} "
        f"| {rate:,.0f} |"
    )


def noise(result: Result) -> str:
    """Return a sentence on how much else ran on the server's processor."""
    share = result.disturbance()
    if share > DISTURBED:
        return f"NOISY: other programs took {share:.0%} of the server's processor; compare ratios only, with care"
    return f"Other programs took {share:.1%} of the server's processor (median)"


def _cheapest_first(result: Result, workload: str) -> list[tuple[str, Cell]]:
    def rank(entry: tuple[str, Cell]) -> tuple[int, float]:
        _, cell = entry
        if cell.counts:
            return 0, spread(cell.cpu_us)[0]
        return (1 if cell.fails else 2), 0.0

    return sorted(result.cells[workload].items(), key=rank)
