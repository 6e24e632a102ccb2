"""The fuzz targets under hypothesis: raw bytes, and bytes made of the words that the grammars know."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.rows import ROWS
from tests.fuzz.targets import TARGETS

# fmt: off
WORDS = {
    "head": [
        b"GET", b"POST", b" ", b"/", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n", b"Host: a", b"Content-Length: ",
        b"3", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close", b"\n", b"\r", b":", b"\t",
        b"\x00", b"0", b"abc", b"\xff", b";", b"?a=1", b"#", b"%2F", b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
    ],
    "chunked": [
        b"0", b"1", b"3", b"a", b"F", b"\r\n", b"\r\n\r\n", b"abc", b";x=y", b';x="a;b"', b" ", b"\n", b"T: v",
        b"ffffffff",
    ],
    "query": [b"a", b"b", b"=", b"&", b"%20", b"%", b"%f", b"%ff", b"%C3%A9", b"+", b";", b"\xe9", b"[]", b"a=1&a=2"],
}
# fmt: on


def streams(name: str) -> st.SearchStrategy[bytes]:
    """Return what a target is fed with."""
    return st.lists(st.one_of(st.sampled_from(WORDS[name]), st.binary(max_size=4)), max_size=30).map(b"".join)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_target_holds_its_promises(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(st.one_of(streams(name), st.binary(max_size=300))))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_conformance_table_is_a_corpus_of_the_heads(row) -> None:
    TARGETS["head"](row.data)
