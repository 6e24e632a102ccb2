"""The head object: fields as received."""

from cello.http.head import FieldList
from cello.http.peer import Peer

FIELDS = [(b"Host", b"x"), (b"X-A", b"1"), (b"Accept", b"*/*"), (b"x-a", b"2")]


def test_a_field_is_found_whatever_its_spelling() -> None:
    assert FieldList(FIELDS).get(b"host") == b"x"


def test_a_repeated_field_is_joined_by_comma_rfc_9110_5_3() -> None:
    assert FieldList(FIELDS).get(b"x-a") == b"1, 2"
    assert FieldList(FIELDS).get_all(b"x-a") == [b"1", b"2"]


def test_a_missing_field_is_none() -> None:
    assert FieldList(FIELDS).get(b"x-b") is None
    assert FieldList(FIELDS).get_all(b"x-b") == []


def test_the_raw_fields_are_a_copy_in_order_and_spelling() -> None:
    head = FieldList(FIELDS)
    head.raw().clear()
    assert head.raw() == FIELDS
    assert repr(head).startswith("FieldList([(b'Host'")


def test_a_peer_says_who_it_is() -> None:
    assert repr(Peer("https", ("10.0.0.1", 5), None)) == "Peer('https', client=('10.0.0.1', 5), server=None)"
