"""Numbers of a result: ratios per round, the reference, saving; and the pages and charts made of it."""

from xml.etree import ElementTree

import pytest

from bench.load import chart, report, results
from bench.load.results import Cell, Result


@pytest.fixture
def result():
    return Result(
        date="2026-01-02T03:04:05+00:00",
        machine={
            "cpu": "A <fast> one",
            "processors": 2,
            "kernel": "6.1",
            "system": "Debian",
            "governor": "performance",
            "load_average": "0.1",
        },
        settings={
            "rounds": 3,
            "seconds": 1.0,
            "connections": 64,
            "server_core": 0,
            "client_core": 1,
            "python": "3.12.1",
        },
        peers={"cello": "cello", "rival": "Rival & Sons", "broken": "Broken", "absent": "Absent"},
        versions={"cello": {}, "rival": {"rival": "1.0"}},
        workloads={"plaintext": "plaintext GET /"},
        cells={
            "plaintext": {
                "cello": Cell([5.0, 10.0, 6.0], [100.0, 50.0, 90.0], [0.0, 0.2, 0.01], 300),
                "rival": Cell([10.0, 25.0, 12.0], [50.0, 20.0, 40.0], [0.0, 0.0, 0.0], 300),
                "broken": Cell(fails="status 500: | no"),
                "absent": Cell(skipped="a WSGI server"),
            }
        },
    )


def test_ratios_are_taken_within_a_round(result):
    assert result.ratios("plaintext", "rival") == [2.0, 2.5, 2.0]


def test_cello_is_the_reference_where_it_has_figures(result):
    assert result.reference("plaintext") == "cello"
    result.cells["plaintext"]["cello"].fails = "wrong"
    assert result.reference("plaintext") == "rival"


def test_without_any_figures_there_is_no_reference(result):
    result.cells["plaintext"] = {"broken": Cell(fails="no")}
    assert result.reference("plaintext") is None
    assert result.ratios("plaintext", "broken") == []


def test_a_saved_result_reads_back_equal(result, tmp_path):
    result.save(tmp_path / "result.json")
    assert results.load(tmp_path / "result.json") == result


def test_the_page_shows_figures_failures_and_reasons(result):
    page = report.markdown(result)
    assert "| cello | 6.00 | 5.00–10.00 | 1.00 |" in page
    assert "| Rival & Sons | 12.00 | 10.00–25.00 | 2.00 | 2.00–2.50 | 40 |" in page
    assert "| Broken | fails: `status 500: ¦ no` |" in page
    assert "| Absent | – (a WSGI server) |" in page


def test_the_page_says_when_the_machine_was_busy_with_other_things(result):
    assert "NOISY" not in report.markdown(result)
    for cell in result.cells["plaintext"].values():
        cell.disturbed = [0.3, 0.4]
    assert "NOISY: other programs took 35%" in report.markdown(result)


def test_the_chart_is_well_formed_and_has_a_bar_per_peer_with_figures(result):
    drawn = ElementTree.fromstring(chart.draw(result))
    svg = "{http://www.w3.org/2000/svg}"
    assert len(list(drawn.iter(f"{svg}rect"))) == 2
    assert "Rival & Sons" in [text.text for text in drawn.iter(f"{svg}text")]


def test_the_cheapest_peer_comes_first(result):
    page = report.markdown(result)
    assert page.index("| cello |") < page.index("| Rival & Sons |") < page.index("| Broken |") < page.index("| Absent")
