"""Numbers of several processes: summed, kept when one dies, and never half-made."""

import logging
import os

import pytest

from cello.errors import ConfigError
from cello.shared.meter import MOST_CELLS, Meter


def slabs(count, words=512):
    return [memoryview(bytearray(8 * words)).cast("q") for _ in range(count)]


def test_sums_go_over_all_slabs():
    rows = slabs(3)
    meters = [Meter() for _ in rows]
    for number, (meter, own) in enumerate(zip(meters, rows, strict=True), start=1):
        meter.open(own, lambda: rows)
        meter.metric("counter", "sold_total", "Sold.", ["kind"]).labelled("book").add(number)
        meter.metric("histogram", "weight", "Weight.", bounds=[1, 2]).labelled().observe(number)
    assert {name: dict(found) for name, found in meters[0].totals().items()} == {
        "sold_total": {("book",): [6.0]},
        "weight": {(): [1.0, 1.0, 1.0, 6.0]},
    }


def test_a_successor_goes_on_where_its_predecessor_stopped_but_for_gauges():
    (own,) = slabs(1)
    for total in (2.0, 4.0):
        meter = Meter()
        counter = meter.metric("counter", "sold_total", "Sold.").labelled()
        gauge = meter.metric("gauge", "open", "Open.").labelled()
        meter.open(own, lambda: [own])
        counter.add()
        counter.add()
        gauge.add()
        assert meter.totals() == {"sold_total": {(): [total]}, "open": {(): [1.0]}}


def test_gauges_of_the_dead_are_left_out():
    rows = slabs(2)
    meter, other = Meter(), Meter()
    for each, own in zip((meter, other), rows, strict=True):
        each.open(own, lambda: rows)
        each.metric("gauge", "open", "Open.").labelled().set(1)
        each.metric("counter", "sold_total", "Sold.").labelled().add()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    rows[1][1] = pid
    assert meter.totals() == {"open": {(): [1.0]}, "sold_total": {(): [2.0]}}


def test_states_are_looked_up_when_numbers_are_read(caplog):
    meter = Meter()
    gauge = meter.metric("gauge", "lent", "Lent.").labelled()
    counter = meter.metric("counter", "opened_total", "Opened.").labelled()
    pool = {"lent": 3, "opened": 5}

    def read():
        gauge.set(pool["lent"])
        counter.follow(pool["opened"])

    def broken():
        raise LookupError("gone")

    meter.on_collect(broken)
    meter.on_collect(read)
    with caplog.at_level(logging.ERROR, "cello"):
        assert meter.totals() == {"lent": {(): [3.0]}, "opened_total": {(): [5.0]}}
        pool.update(lent=1, opened=9)
        assert meter.totals() == {"lent": {(): [1.0]}, "opened_total": {(): [9.0]}}
        pool.update(lent=0, opened=2)  # another pool, which has opened two
        assert meter.own() == {"lent": {(): [0.0]}, "opened_total": {(): [11.0]}}
    assert [record.exc_info[0] for record in caplog.records] == [LookupError]


def test_what_all_processes_see_alike_is_not_summed():
    rows = slabs(2)
    for own in rows:
        meter = Meter()
        meter.open(own, lambda: rows)
        meter.metric("gauge", "keys", "Keys.", ["region"], of_machine=True).labelled("limits").set(7)
    assert meter.totals() == {"keys": {("limits",): [7.0]}}


def test_a_process_knows_what_it_counted_itself():
    (own,) = slabs(1)
    for sold in (2, 3):
        meter = Meter()
        meter.open(own, lambda: [own])
        counter = meter.metric("counter", "sold_total", "Sold.", ["kind"]).labelled("book")
        took = meter.metric("histogram", "took", "Took.", bounds=[1]).labelled()
        counter.add(sold)
        took.observe(sold)
    assert meter.totals() == {"sold_total": {("book",): [5.0]}, "took": {(): [0.0, 2.0, 5.0]}}
    assert meter.own() == {"sold_total": {("book",): [3.0]}, "took": {(): [0.0, 1.0, 3.0]}}


def test_rows_made_before_the_slab_was_there_count_in_it():
    meter = Meter()
    row = meter.metric("counter", "sold_total", "Sold.", ["kind"]).labelled("book")
    row.add()
    (own,) = slabs(1)
    meter.open(own, lambda: [own])
    row.add(3)
    assert meter.totals() == {"sold_total": {("book",): [3.0]}}


def test_what_other_code_left_in_a_slab_is_passed_over():
    (own,) = slabs(1)
    old = Meter()
    old.open(own, lambda: [own])
    old.metric("histogram", "took", "Took.", bounds=[1, 2, 3]).labelled().observe(1)
    old.metric("counter", "gone_total", "Gone.").labelled().add()
    new = Meter()
    new.open(own, lambda: [own])
    new.metric("histogram", "took", "Took.", bounds=[1]).labelled().observe(5)
    assert new.totals() == {"took": {(): [0.0, 1.0, 5.0]}}


def test_a_full_slab_says_so_once_and_spoils_nothing(caplog):
    (own,) = slabs(1, words=MOST_CELLS + 40)
    meter = Meter()
    meter.open(own, lambda: [own])
    counter = meter.metric("counter", "sold_total", "Sold.", ["kind"])
    with caplog.at_level(logging.WARNING, "cello"):
        for number in range(20):
            counter.labelled(str(number)).add()
    assert meter.is_full
    assert len(caplog.records) == 1
    kept = meter.totals()["sold_total"]
    assert 0 < len(kept) < 20
    assert set(map(tuple, kept.values())) == {(1.0,)}


def test_a_row_that_was_not_finished_is_not_there():
    (own,) = slabs(1)
    meter = Meter()
    meter.open(own, lambda: [own])
    counter = meter.metric("counter", "sold_total", "Sold.", ["kind"])
    counter.labelled("book").add()
    end = own[0]
    own[end : end + 20] = memoryview(bytes([255] * 160)).cast("q")  # written, but the end was not moved past it
    assert meter.totals() == {"sold_total": {("book",): [1.0]}}
    counter.labelled("pen").add()
    assert meter.totals() == {"sold_total": {("book",): [1.0], ("pen",): [0.0 + 1.0]}}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda meter: meter.metric("timer", "a", ""), "of kind 'timer'"),
        (lambda meter: meter.metric("counter", "known", "Another text."), "there is a metric 'known' already"),
        (lambda meter: meter.metric("histogram", "b", "", bounds=range(1, 99)), "more than 62 buckets"),
        (lambda meter: meter.metric("counter", "c", "", ["x"]).labelled(), "has the labels"),
    ],
    ids=["kind", "another", "buckets", "labels"],
)
def test_what_cannot_be_is_refused(make, words):
    meter = Meter()
    meter.metric("counter", "known", "A text.")
    with pytest.raises(ConfigError, match=words):
        make(meter)
