"""The tables of the comparison hold together: names, files, reasons."""

import json

import pytest

from bench.load import peers, targets, workloads
from bench.load.places import APPS


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_a_peer_has_its_app_file_and_skips_only_workloads_that_exist(peer):
    assert not peer.app or (APPS / peer.app).is_file()
    assert peer.skips.keys() <= {workload.name for workload in workloads.WORKLOADS}


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_every_requirement_is_pinned(peer):
    assert all(requirement == "." or "==" in requirement or "<" in requirement for requirement in peer.requirements)


def test_peers_that_share_a_virtualenv_ask_for_the_same():
    asked = {}
    for peer in peers.PEERS:
        assert asked.setdefault(peer.venv_name, peer.requirements) == peer.requirements


def test_peers_come_in_the_order_of_the_table_and_once():
    assert [peer.name for peer in peers.choose("floor,cello,floor")] == ["cello", "floor"]
    everybody = [peer.name for peer in peers.PEERS]
    assert [peer.name for peer in peers.choose("all")] == [name for name in everybody if "+" not in name]
    assert {peer.name for peer in peers.choose("all,switches")} == set(everybody)


@pytest.mark.parametrize("choose", [peers.choose, workloads.choose])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(choose):
    with pytest.raises(ValueError, match=r"no such .*: nonsense; there are:"):
        choose("nonsense")


def test_targets_name_peers_and_workloads_that_exist():
    assert targets.TARGETS.keys() <= {peer.name for peer in peers.PEERS}
    known = {workload.name for workload in workloads.WORKLOADS}
    assert all(row.keys() <= known for row in targets.TARGETS.values())


def test_every_user_is_asked_for_once_and_answers_have_one_length():
    exchanges = workloads.choose("param")[0].exchanges
    assert len({exchange.request for exchange in exchanges}) == workloads.USERS
    assert len({len(json.dumps(exchange.expected)) for exchange in exchanges}) == 1


def test_the_posted_body_is_about_a_kilobyte_and_holds_its_needle():
    [exchange] = workloads.choose("post")[0].exchanges
    body = exchange.request.partition(b"\r\n\r\n")[2]
    assert 1000 < len(body) < 1050
    assert exchange.needle in body
    assert json.loads(body) == exchange.expected
