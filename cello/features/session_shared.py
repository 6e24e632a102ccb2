"""Sessions in shared memory: one for all workers of this machine, until the service ends.

What is in use stays: a session that is read while it is among the older half is written anew by the memory itself.
"""

from cello.extension import Host
from cello.shared.layouts import StoreLayout
from cello.shared.regions import Region
from cello.shared.store import Store

TRIES = 8


class SharedStore:
    """Keeps sessions in shared memory.

    Args:
        most: How many sessions.
        size_bytes: How much memory they have together; beyond, the oldest are dropped.
        cookie_name: Keeps applications apart.
    """

    is_quick = True
    _region: Region[Store]

    def __init__(self, most: int, size_bytes: int, cookie_name: str) -> None:
        self._layout = StoreLayout(size_bytes, most)
        self._name = f"sessions {cookie_name}"

    def install(self, host: Host) -> None:
        """Claim the memory."""
        self._region = host.shared.region(self._name, self._layout)

    def load(self, key: str) -> bytes | None:
        """Return what was saved."""
        return self._region.open().get(key)

    def save(self, key: str, value: bytes, max_age_s: int, *, is_new: bool) -> bool:
        """Keep `value`; an old one only where it still is."""
        memory = self._region.open()
        if is_new:
            return memory.set(key, value, max_age_s)
        for _ in range(TRIES):
            version = memory.version(key)
            if version == 0 or memory.get(key) is None:
                return False
            # Another request may have written it since: its own version, then, is the one to come after.
            if memory.set(key, value, max_age_s, if_version=version):
                return True
        return False

    def delete(self, key: str) -> None:
        """Forget `key`."""
        self._region.open().delete(key)
