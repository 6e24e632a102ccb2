# ruff: noqa: E501  # a row of the table reads best on one line
"""The opening handshake, and which offers of compression are accepted."""

import pytest

from cello.errors import HTTPError
from cello.http.head import FieldList
from cello.wire.ws_deflate import negotiate
from cello.wire.ws_handshake import is_upgrade, read_handshake

KEY = (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
VERSION = (b"Sec-WebSocket-Version", b"13")


def test_the_key_is_answered_as_in_the_rfc() -> None:
    handshake = read_handshake(FieldList([KEY, VERSION]), has_body=False)
    assert handshake.accept == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455 §1.3"
    assert handshake.extensions == []


REFUSED = {
    "no version": ([KEY], 400),
    "two versions": ([KEY, VERSION, VERSION], 400),
    "an older version": ([KEY, (b"Sec-WebSocket-Version", b"8")], 426),
    "a list of versions": ([KEY, (b"Sec-WebSocket-Version", b"13, 8")], 426),
    "no key": ([VERSION], 400),
    "two keys": ([KEY, KEY, VERSION], 400),
    "an empty key": ([(b"Sec-WebSocket-Key", b""), VERSION], 400),
    "a key of 15 bytes": ([(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25j"), VERSION], 400),
    "a key of 17 bytes": ([(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQA="), VERSION], 400),
    "a key that is no base64": ([(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25j*Q=="), VERSION], 400),
}


@pytest.mark.parametrize(("fields", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_handshake_is_refused(fields: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(HTTPError) as refused:
        read_handshake(FieldList(fields), has_body=False)
    assert refused.value.status == status
    assert (refused.value.headers.get("Sec-WebSocket-Version") == "13") is (status == 426)


def test_a_handshake_has_no_body() -> None:
    with pytest.raises(HTTPError, match="no body"):
        read_handshake(FieldList([KEY, VERSION]), has_body=True)


UPGRADES = {"plain": (b"websocket", True), "among others": (b"h2c, websocket", True), "another": (b"h2c", False),
            "none": (b"", False), "part of a word": (b"websocket2", False)}  # fmt: skip


@pytest.mark.parametrize(("field", "expected"), UPGRADES.values(), ids=UPGRADES.keys())
def test_an_upgrade_names_websocket(field: bytes, expected: bool) -> None:
    assert is_upgrade(field) is expected


OFFERS = {
    "plain": ("permessage-deflate", "permessage-deflate"),
    "in any case": ("PerMessage-Deflate", "permessage-deflate"),
    "as browsers offer it": ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12"),
    "a window of the client's": ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
    "a small window of the client's": ("permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
    "a window of ours": ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
    "a large window of ours": ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=12"),
    "a value in quotes": ('permessage-deflate; server_max_window_bits="10"', "permessage-deflate; server_max_window_bits=10"),
    "no context": (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ),
    "spaces": ("  permessage-deflate ;server_no_context_takeover  ", "permessage-deflate; server_no_context_takeover"),
    "the second offer": ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
    "behind another extension": ('x-other; a="b, permessage-deflate; x", permessage-deflate', "permessage-deflate"),
    "none": ("", None),
    "another extension": ("x-webkit-deflate-frame", None),
    "a window that zlib does not make": ("permessage-deflate; server_max_window_bits=8", None),
    "a window that is no number": ("permessage-deflate; server_max_window_bits=ten", None),
    "a window with a leading zero": ("permessage-deflate; client_max_window_bits=09", None),
    "a window too large": ("permessage-deflate; client_max_window_bits=16", None),
    "a window of ours without a value": ("permessage-deflate; server_max_window_bits", None),
    "an unknown parameter": ("permessage-deflate; fast", None),
    "a parameter twice": ("permessage-deflate; client_max_window_bits; client_max_window_bits=10", None),
    "a value where none belongs": ("permessage-deflate; server_no_context_takeover=1", None),
    "an empty parameter": ("permessage-deflate;", None),
    "a malformed parameter": ("permessage-deflate; =10", None),
    "a quote left open": ('permessage-deflate; server_max_window_bits="10', None),
}  # fmt: skip


@pytest.mark.parametrize(("offer", "answer"), OFFERS.values(), ids=OFFERS.keys())
def test_an_offer_of_compression_is_answered(offer: str, answer: str | None) -> None:
    agreement = negotiate([offer.encode()])
    assert (None if agreement is None else agreement.answer) == answer


def test_offers_may_come_in_several_fields() -> None:
    agreement = negotiate([b"x-other", b"permessage-deflate; client_no_context_takeover"])
    assert agreement is not None
    assert (agreement.client_keeps_context, agreement.server_keeps_context) == (False, True)
