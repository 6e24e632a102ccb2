"""The compiled tier: heads scanned in one pass by `cello._speedups.head`, fields decoded only when asked for.

Import this module only where `cello._speedups.enabled` is true.
"""

from cello._speedups.head import parse_head as _parse
from cello.errors import ProtocolError
from cello.http.ports import HeadFields


def parse_head(head: bytes) -> tuple[str, str, int, HeadFields]:
    """Scan one complete head; the contract is in `cello.wire.h1`.

    Raises:
        ProtocolError: 400 or 505, with the offset of the fault.
    """
    scanned = _parse(head)
    if scanned[3] is None:
        status, reason, offset, _ = scanned
        raise ProtocolError(reason, status=status, offset=offset)
    return scanned
