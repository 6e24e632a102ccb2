"""JSON by msgspec: about ten times as fast as the standard library, and the reference for what a result is."""

from collections.abc import Callable
from typing import Any

import msgspec

from cello.errors import BadRequest
from cello.http.json_values import simplify

encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=simplify).encode
_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


def decode(data: bytes) -> Any:
    """Return what a JSON text says; of repeated keys the last one counts.

    Raises:
        BadRequest: It is not JSON in UTF-8.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
