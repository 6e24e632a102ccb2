"""Bodies that come in pieces, counted: who observes answers hears of the end of one, and of how long it was."""

from collections.abc import AsyncIterator, Callable, Iterator

from cello.http.response import StreamPayload

End = Callable[[int, bool], None]


def count(payload: StreamPayload, end: End) -> None:
    """Have `end(bytes, is_cut_short)` called once, when the body has ended or nobody wants more of it."""
    counted = CountedAsync if payload.is_async else Counted
    payload.iterator = counted(payload.iterator, end)


class Counted(Iterator[bytes]):
    """The pieces of a body, counted; says how many bytes there were when they end, or when nobody wants more.

    Args:
        pieces: The body.
        end: Called once, with the bytes and whether the end was not reached.
    """

    def __init__(self, pieces: Iterator[bytes], end: End) -> None:
        self._pieces = pieces
        self._end: End | None = end
        self._size = 0

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            self._report(is_cut_short=False)
            raise
        self._size += len(piece)
        return piece

    def close(self) -> None:
        """End the body early, or do nothing where it has ended."""
        try:
            self._pieces.close()  # type: ignore[attr-defined]  # the pieces of a StreamPayload can be closed
        finally:
            self._report(is_cut_short=True)

    def _report(self, *, is_cut_short: bool) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(self._size, is_cut_short)


class CountedAsync(AsyncIterator[bytes]):
    """The same for an async body."""

    def __init__(self, pieces: AsyncIterator[bytes], end: End) -> None:
        self._pieces = pieces
        self._end: End | None = end
        self._size = 0

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._report(is_cut_short=False)
            raise
        self._size += len(piece)
        return piece

    async def aclose(self) -> None:
        """End the body early, or do nothing where it has ended."""
        try:
            await self._pieces.aclose()  # type: ignore[attr-defined]  # the pieces of a StreamPayload can be closed
        finally:
            self._report(is_cut_short=True)

    def _report(self, *, is_cut_short: bool) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(self._size, is_cut_short)
