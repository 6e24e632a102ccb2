"""Words of 64 bits that several processes read and change, each change at once or not at all.

This is the pure twin of `_speedups/slots.pyx`, which changes words with the processor's own instructions; here a change
holds the word's lock. Workers of one arena use the same twin: the arena refuses a mixture.

Reading needs no lock in either: an aligned word is read in one piece.
"""

from hashlib import blake2b
from importlib import import_module

from cello import _speedups
from cello.shared.gate import Gate

_SIGN = 1 << 63
_ALL = (1 << 64) - 1


class Slots:
    """A row of signed 64-bit words.

    Args:
        memory: Bytes, 8 per word, aligned.
        gate: The locks of the region; word n has number 8n.
        secret: 16 bytes that make digests unpredictable, the same in all processes.

    Attributes:
        count: How many words there are.
    """

    __slots__ = ("_gate", "_secret", "_words", "count")

    def __init__(self, memory: memoryview, gate: Gate, secret: bytes) -> None:
        self._words = memory.cast("q")
        self._gate = gate
        self._secret = bytes(secret)
        self.count = len(self._words)

    def get(self, index: int) -> int:
        """Return a word.

        Raises:
            IndexError: There is no such word; so for all methods.
        """
        if index < 0:
            raise IndexError("there is no such word")
        return self._words[index]

    def set(self, index: int, value: int) -> None:
        """Change a word, whatever it was."""
        if index < 0:
            raise IndexError("there is no such word")
        with self._gate.held(8 * index):
            self._words[index] = value

    def add(self, index: int, number: int) -> int:
        """Add to a word, modulo 2**64; return what it is then."""
        if index < 0:
            raise IndexError("there is no such word")
        with self._gate.held(8 * index):
            value = ((self._words[index] + number + _SIGN) & _ALL) - _SIGN
            self._words[index] = value
            return value

    def swap(self, index: int, expected: int, value: int) -> bool:
        """Change a word if it still is `expected`; return whether."""
        if index < 0:
            raise IndexError("there is no such word")
        with self._gate.held(8 * index):
            if self._words[index] != expected:
                return False
            self._words[index] = value
            return True

    def digest(self, key: str) -> int:
        """Return a positive number that stands for `key`, the same in all processes of this arena.

        SECURITY: keyed by a secret, so that nobody can choose keys that fall together.
        """
        found = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        return (int.from_bytes(found, "little") & (_SIGN - 1)) or 1


PureSlots = Slots
if _speedups.enabled:
    globals()["Slots"] = import_module("cello._speedups.slots").Slots
