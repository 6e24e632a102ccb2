"""Every MUST of RFC 9112 §2 to §9 that binds a server, with what shows that it is kept: rows of the table, or tests.

What binds only clients, proxies and gateways is left out; so is the upgrade, which has a table of its own (ws_rows.py).
"""

# A table reads best in rows.
# fmt: off
# ruff: noqa: E501

from dataclasses import dataclass


@dataclass(frozen=True)
class Must:
    """One requirement.

    Attributes:
        section: Of RFC 9112.
        rule: In our words.
        rows: Names of rows in rows.py.
        tests: "module:function" below tests/.
    """

    section: str
    rule: str
    rows: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


RESPONSES = "conformance.test_responses"
NATIVE = "gateways.native"

MUSTS = [
    Must("§2.2", "a message is read as octets, not as text of an encoding", ("a value beyond ASCII", "a byte beyond ASCII in the target")),
    Must("§2.2", "no bare CR is sent outside of content", (), (f"{RESPONSES}:test_no_line_break_of_the_application_gets_into_a_head",)),
    Must("§2.2", "a bare CR is invalid, or replaced, before the element is used", ("a lone CR in a value", "a lone CR at the end of a value", "a lone CR before the request", "an extension with a lone CR", "a trailer with a lone CR", "a chunk size line with a lone CR")),
    Must("§2.2", "whitespace between the start-line and the first field is refused, or its line dropped", ("a folded first field",)),
    Must("§2.3", "the name of the version is case-sensitive", ("the name of the version in lower case",)),
    Must("§2.3", "a response is not in a version that the server does not conform to", (), (f"{RESPONSES}:test_every_answer_is_of_version_1_1",)),
    Must("§3", "a target longer than any that is parsed is 414", ("a request line beyond the limit", "an endless request line")),
    Must("§3.2", "a request of HTTP/1.1 without Host is 400", ("no Host", "no Host, other fields")),
    Must("§3.2", "a request with more than one Host is 400", ("two equal Hosts", "two different Hosts")),
    Must("§3.2", "a request with an invalid Host is 400", ("a Host with a space", "a Host that is a list", "a Host with a path", "a Host with a user", "a Host with a word for a port")),
    Must("§3.2.2", "the absolute form is accepted", ("absolute form", "absolute form of https", "absolute form without a path")),
    Must("§3.2.2", "with the absolute form the Host field is ignored in favour of the target", ("absolute form with a port", "absolute form of an IPv6 address")),
    Must("§3.2.4", "OPTIONS of the server as a whole is understood in asterisk form", ("asterisk form", "asterisk form through a proxy")),
    Must("§4", "the blank behind the status code is there, also without a reason", (), (f"{RESPONSES}:test_a_status_line_has_its_second_blank_also_without_a_reason",)),
    Must("§5.1", "whitespace between name and colon is 400", ("a space before the colon", "a tab before the colon", "a space before the colon of Content-Length", "a trailer with a space before the colon")),
    Must("§5.1", "whitespace around a value is no part of it", ("blanks around a value",), (f"{RESPONSES}:test_blanks_around_a_value_are_no_part_of_it",)),
    Must("§5.2", "no folded line is sent", (), (f"{RESPONSES}:test_no_line_break_of_the_application_gets_into_a_head",)),
    Must("§5.2", "a folded line is 400, or replaced by blanks", ("a folded value", "a value folded with a tab", "a fold of blanks only", "a folded trailer")),
    Must("§6.1", "the chunked coding is understood", ("one chunk", "several chunks", "no chunk but the last")),
    Must("§6.1", "chunked is not applied twice to a body that is sent", (), (f"{RESPONSES}:test_a_stream_is_chunked_once_and_has_no_length",)),
    Must("§6.1", "no Transfer-Encoding in an answer of 1xx or 204", (), (f"{RESPONSES}:test_an_answer_without_content_has_no_framing_that_announces_one",)),
    Must("§6.1", "no Transfer-Encoding to a client of HTTP/1.0", (), (f"{RESPONSES}:test_a_client_of_http_1_0_gets_no_transfer_coding",)),
    Must("§6.1", "Transfer-Encoding beside Content-Length ends the connection", ("both framings", "both framings, the length first")),
    Must("§6.1", "Transfer-Encoding in HTTP/1.0 is faulty framing and ends the connection", ("a transfer coding in HTTP/1.0",)),
    Must("§6.2", "no Content-Length beside a Transfer-Encoding is sent", (), (f"{RESPONSES}:test_a_stream_is_chunked_once_and_has_no_length",)),
    Must("§6.3", "an answer to HEAD and of 1xx, 204 and 304 ends with its head", (), (f"{RESPONSES}:test_an_answer_without_content_has_no_framing_that_announces_one", f"{RESPONSES}:test_head_has_the_fields_of_get_and_no_content")),
    Must("§6.3", "a Transfer-Encoding whose last coding is not chunked is 400 and close", ("chunked not last", "a coding without chunked", "identity", "a word like chunked")),
    Must("§6.3", "an invalid Content-Length is unrecoverable: 400 and close", ("two different lengths", "a length with a sign", "a negative length", "a length in hexadecimal", "a length with a space inside", "an empty length")),
    Must("§6.3", "a body shorter than announced is an incomplete message", ("a body cut short",)),
    Must("§7", "names of transfer codings are case-insensitive", ("the coding in any case",)),
    Must("§7.1", "numerals of chunk sizes do not overflow", ("a chunk size beyond all numbers", "a size with leading zeros")),
    Must("§7.1.1", "unknown chunk extensions are ignored", ("an extension", "an extension with a value", "an extension with a quoted value")),
    Must("§7.1.2", "trailers are not merged into the header section unless their definition says so", ("a trailer cannot change the framing",), (f"{RESPONSES}:test_trailers_are_not_among_the_headers",)),
    Must("§8", "chunks without the last one are an incomplete message", ("chunks without the last", "chunks without the last line", "chunks that end in the middle")),
    Must("§8", "an answer that could not be sent whole is not ended as if it were", (), (f"{NATIVE}.test_answers:test_a_stream_that_breaks_is_not_ended_properly", f"{NATIVE}.test_answers:test_a_stream_of_another_length_than_announced_breaks_the_connection")),
    Must("§9.3", "the request's body is read, or the connection closed behind the answer", (), (f"{NATIVE}.test_requests:test_a_small_body_for_no_route_does_not_cost_the_connection", f"{NATIVE}.test_requests:test_a_large_body_for_no_route_is_not_read")),
    Must("§9.3", "a message's length is defined by itself where the connection persists", ("HTTP/1.1 stays open", "bytes behind a body are the next request"), (f"{RESPONSES}:test_a_client_of_http_1_0_gets_no_transfer_coding",)),
    Must("§9.3.2", "pipelined requests are answered in their order", ("many requests at once", "requests of all kinds at once"), (f"{NATIVE}.test_requests:test_answers_come_in_the_order_of_the_requests_also_when_the_first_takes_longer",)),
    Must("§9.6", "behind a request with close the connection is closed", ("HTTP/1.1 with close", "close in a list", "close beats keep-alive")),
    Must("§9.6", "nothing that follows a request with close is processed", ("HTTP/1.1 with close",)),
    Must("§9.6", "an answer behind which the connection is closed says close, and it is closed", (), (f"{RESPONSES}:test_who_says_close_closes",)),
    Must("§9.8", "an incomplete close under TLS is an end like any other", (), (f"{NATIVE}.test_tls:test_a_client_that_closes_in_the_middle_is_gone",)),
    Must("§9.8", "closure alerts are exchanged before a TLS connection is closed", (), ("serve.test_tls:test_the_end_of_a_connection_is_said_before_it_is_closed",)),
]
