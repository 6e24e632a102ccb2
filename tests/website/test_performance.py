"""The figures of the performance page: what is drawn from which results, and what is said where there are none."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.load.results import Cell, Result
from tools.website import performance

MACHINE = {
    "cpu": "A <fast> one",
    "processors": 2,
    "kernel": "6.1",
    "system": "Debian",
    "governor": "performance",
    "load_average": "0.1",
}
SETTINGS = {
    "rounds": 2,
    "seconds": 1.0,
    "connections": 64,
    "server_core": 0,
    "client_core": 1,
    "python": "3.12.1",
}


def save(folder: Path, name: str, **cells: dict[str, Cell]) -> None:
    peers = {peer: peer.title() for row in cells.values() for peer in row}
    run = Result(
        "2026-01-02T03:04:05+00:00",
        MACHINE,
        SETTINGS,
        peers,
        {peer: {} for peer in peers},
        {workload: f"the {workload} one" for workload in cells},
        cells,
    )
    run.save(folder / f"{name}-load.json")


def cell(*cpu_us: float) -> Cell:
    return Cell(list(cpu_us), [100.0 for _ in cpu_us], [0.01 for _ in cpu_us], 100)


def drawn(folder: Path) -> str:
    return "\n".join(performance.figures(folder, folder / "assets"))


def test_where_nothing_was_measured_the_page_says_so(tmp_path: Path) -> None:
    assert "holds no run against other frameworks" in drawn(tmp_path)
    assert not (tmp_path / "assets").exists()


def test_a_run_without_rivals_is_no_comparison(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": cell(5), "cello-pure": cell(9), "floor": cell(4)})
    assert "holds no run against other frameworks" in drawn(tmp_path)


def test_each_workload_has_a_chart_and_the_less_usual_ones_are_folded(tmp_path: Path) -> None:
    row = {"cello": cell(5, 6), "rival": cell(10, 12)}
    save(tmp_path, "2026-01-02T0304", headers=row, json=row, broken={"cello": Cell(fails="no")})
    page = drawn(tmp_path)
    assert page.index("](assets/load-json.svg)") < page.index('??? note "the headers one"')
    assert sorted(path.name for path in (tmp_path / "assets").iterdir()) == ["load-headers.svg", "load-json.svg"]
    for chart in (tmp_path / "assets").iterdir():
        ElementTree.parse(chart)


def test_where_a_rival_needs_less_it_is_said_with_its_ratio(tmp_path: Path) -> None:
    cells = {"cello": cell(10, 10), "rival": cell(8, 9), "cello-framework": cell(20, 20), "floor": cell(4, 4)}
    save(tmp_path, "2026-01-02T0304", json=cells)
    page = drawn(tmp_path)
    assert "* the json one: Rival needs 0.85 of cello's CPU time (0.80–0.90)." in page
    assert "Cello-Framework needs" not in page
    assert "40% at json of cello's CPU time" in page


def test_where_cello_has_no_figure_that_is_a_loss_too(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": Cell(fails="wrong answer"), "rival": cell(8)})
    assert "* the json one: cello has no figures in this run." in drawn(tmp_path)


def test_the_newest_run_is_drawn(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": cell(5), "old": cell(10)})
    save(tmp_path, "2026-02-02T0304", json={"cello": cell(5), "new": cell(10)})
    save(tmp_path, "2026-03-02T0304", json={"cello": cell(5), "cello+cors": cell(6)})
    chart = drawn(tmp_path) and (tmp_path / "assets" / "load-json.svg").read_text("utf-8")
    assert "New" in chart
    assert "Old" not in chart


def test_a_run_of_one_workload_takes_the_place_of_an_older_one_there_alone(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": cell(5), "old": cell(4)}, post={"cello": cell(5), "old": cell(4)})
    save(tmp_path, "2026-02-02T0304", json={"cello": cell(5), "new": cell(10)})
    page = drawn(tmp_path)
    charts = {name: (tmp_path / "assets" / f"load-{name}.svg").read_text("utf-8") for name in ("json", "post")}
    assert ("New" in charts["json"], "Old" in charts["json"], "Old" in charts["post"]) == (True, False, True)
    assert page.count("### Where we lose") == 1
    assert "the post one: Old needs 0.80" in page
    assert "the json one: Old" not in page


def test_a_newer_run_of_fewer_servers_takes_no_place(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": cell(5), "old": cell(10), "other": cell(12)})
    save(tmp_path, "2026-02-02T0304", json={"cello": cell(5), "new": cell(10)})
    drawn(tmp_path)
    chart = (tmp_path / "assets" / "load-json.svg").read_text("utf-8")
    assert ("Old" in chart, "New" in chart) == (True, False)


def test_what_a_switch_costs_is_a_table(tmp_path: Path) -> None:
    save(tmp_path, "2026-01-02T0304", json={"cello": cell(5, 5), "cello+cors": cell(6.5, 6.5)})
    assert "6.50 | +1.50 |" in drawn(tmp_path)


def test_tables_and_logs_of_other_programs_are_shown(tmp_path: Path) -> None:
    for date, figure in (("2026-01-02T0304", 9), ("2026-01-03T0304", 7)):
        stem = tmp_path / f"{date}-footprint"
        stem.with_suffix(".json").write_text(json.dumps({"columns": [], "rows": {}}))
        stem.with_suffix(".md").write_text(f"# Start and memory\n\n| cello | {figure} |\n")
    (tmp_path / "2026-01-02-soak.txt").write_text("# make soak, today\nlost: 0\n")
    page = drawn(tmp_path)
    assert "## Start and memory\n\n| cello | 7 |" in page
    assert "| cello | 9 |" not in page
    assert '??? abstract "make soak, today"\n\n    ```text\n    lost: 0' in page


def test_a_page_without_a_place_for_figures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("# Performance\n")
    with pytest.raises(ValueError, match="0 places for figures"):
        performance.write(tmp_path, tmp_path)
