"""Draws a result as SVG: one panel per workload, one bar per peer, its length the CPU time per request.

    python -m bench.load.chart RESULT.json CHART.svg [WORKLOAD,…]

Plain SVG with a style sheet inside: it follows the reader's light or dark theme, has no background of its own, and
needs no library.
"""

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from bench.load import results
from bench.load.results import Result, spread

_WIDTH = 820
_LABELS = 236
_NUMBERS = 150
_BAR, _GAP, _HEADING, _PANEL_GAP = 18, 6, 30, 20

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .ours text, .ours { font-weight: 600 }
  .quiet { fill: #6e7781; font-size: 12px }
  .bar { fill: #afb8c1 } .ours .bar { fill: #0a7d5a } .floor .bar { fill: none; stroke: #6e7781; stroke-dasharray: 3 2 }
  .spread { stroke: #24292f; stroke-width: 1.2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #8b949e } .bar { fill: #484f58 } .ours .bar { fill: #2ea97d }
    .floor .bar { stroke: #8b949e } .spread { stroke: #e6edf3 }
  }
"""


def draw(result: Result, workloads: Sequence[str] = ()) -> str:
    """Return the chart of a result, of all its workloads or of the given ones in their order."""
    panels: list[str] = []
    top = 10
    for name in workloads or result.workloads:
        lines = list(_panel(result, name, top))
        if lines:
            panels.extend(lines)
            top += _HEADING + len(_ranked(result, name)) * (_BAR + _GAP) + _PANEL_GAP
    settings, cpu = result.settings, result.machine["cpu"]
    captions = (
        f"Server CPU time per request, median of {settings['rounds']} interleaved rounds; whiskers: minimum to maximum",
        f"{cpu}, Python {settings['python']}, one worker, {settings['connections']} connections, {result.date[:10]}",
    )
    height = top + 36
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(captions[0])}">'
    )
    return "\n".join(
        [
            opening,
            f"<style>{_STYLE}</style>",
            *panels,
            *(
                f'<text class="quiet" x="0" y="{height - 24 + 18 * row}">{escape(caption)}</text>'
                for row, caption in enumerate(captions)
            ),
            "</svg>",
            "",
        ]
    )


def _ranked(result: Result, workload: str) -> list[tuple[str, float, float, float]]:
    """Return the peers with figures, cheapest first: name, median, minimum, maximum."""
    found = [(name, *spread(cell.cpu_us)) for name, cell in result.cells[workload].items() if cell.counts]
    return sorted(found, key=lambda entry: entry[1])


def _panel(result: Result, workload: str, top: int) -> Iterator[str]:
    ranked = _ranked(result, workload)
    if not ranked:
        return
    scale = (_WIDTH - _LABELS - _NUMBERS) / max(high for *_, high in ranked)
    yield f'<text class="title" x="0" y="{top + 14}">{escape(result.workloads[workload])}</text>'
    for row, (name, median, low, high) in enumerate(ranked):
        y = top + _HEADING + row * (_BAR + _GAP)
        middle = y + _BAR / 2
        group = "ours" if name == "cello" else "floor" if name == "floor" else "peer"
        ratio, _, _ = spread(result.ratios(workload, name))
        is_reference = name == result.reference(workload)
        number = f"{median:.1f} µs" + ("" if is_reference else f"  ×{ratio:.2f}")
        yield f'<g class="{group}">'
        yield f'<text x="{_LABELS - 10}" y="{y + 13.5}" text-anchor="end">{escape(result.peers[name])}</text>'
        yield f'<rect class="bar" x="{_LABELS}" y="{y}" width="{median * scale:.1f}" height="{_BAR}" rx="2"/>'
        yield (
            f'<path class="spread" d="M{_LABELS + low * scale:.1f} {middle} H{_LABELS + high * scale:.1f}"/>'
            f'<text x="{_LABELS + high * scale + 8:.1f}" y="{y + 13.5}">{escape(number)}</text>'
        )
        yield "</g>"


def main(argv: Sequence[str]) -> int:
    """Draw the chart of a saved result."""
    if len(argv) not in (2, 3):
        print(__doc__)
        return 2
    workloads = argv[2].split(",") if len(argv) == 3 else ()
    Path(argv[1]).write_text(draw(results.load(Path(argv[0])), workloads))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
