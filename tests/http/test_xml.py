"""Dicts as XML documents."""

from typing import Any
from xml.etree import ElementTree

import pytest

from cello.http.xml import render_xml

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"a": 1}, "<a>1</a>", id="one key is the root"),
        pytest.param({"a": 1, "b": "x"}, "<root><a>1</a><b>x</b></root>", id="several keys need one"),
        pytest.param({}, "<root></root>", id="nothing"),
        pytest.param({"a": {"b": {"c": True}}}, "<a><b><c>true</c></b></a>", id="nested"),
        pytest.param({"a": None}, "<root><a/></root>", id="None"),
        pytest.param({"a": [1, 2]}, "<root><a>1</a><a>2</a></root>", id="a list repeats its element"),
        pytest.param({"a": {"b": [[1], []]}}, "<a><b><item>1</item></b><b></b></a>", id="a list of lists"),
        pytest.param({"a": False}, "<a>false</a>", id="a bool"),
        pytest.param({"a": "<b>&\"'"}, "<a>&lt;b&gt;&amp;\"'</a>", id="markup"),
        pytest.param({"a": "é\n"}, "<a>é\n</a>", id="text"),
    ],
)
def test_a_dict_is_rendered(data: dict[str, Any], expected: str) -> None:
    document = render_xml(data)
    assert document == HEAD + expected
    ElementTree.fromstring(document.encode())


def test_the_root_can_be_named() -> None:
    assert render_xml({"a": 1, "b": 2}, "both").startswith(HEAD + "<both>")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a>", "<a", "é", 5])
def test_a_key_that_is_no_element_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="XML element"):
        render_xml({name: 1, "x": 2})


@pytest.mark.parametrize("text", ["\0", "\x0b", "\ufffe", "\ud800"])
def test_a_character_that_xml_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="XML"):
        render_xml({"a": text})
