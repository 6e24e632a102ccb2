"""Bodies: spooled, held, and on their way."""

import io
from pathlib import Path

import pytest

from cello.http.body import BodyStream, HeldBody, Spool, collect


class Arriving:
    """A body that arrives in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def read_blocking(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read(self) -> bytes:
        return self.read_blocking()


@pytest.fixture(
    params=[pytest.param(100, id="in memory"), pytest.param(3, id="on disk"), pytest.param(0, id="at once")]
)
def spool(request: pytest.FixtureRequest) -> Spool:
    made = Spool(request.param)
    for piece in (b"ab", b"cde", b"f"):
        made.write(piece)
    assert made.is_on_disk is (request.param < 6)
    return made


def test_a_spool_holds_what_was_written(spool: Spool) -> None:
    assert spool.size == 6
    assert spool.getvalue() == b"abcdef"
    assert spool.getvalue() == b"abcdef"


def test_a_spool_is_read_in_pieces_and_more_than_once(spool: Spool) -> None:
    assert list(spool.chunks(4)) == [b"abcd", b"ef"]
    assert list(spool.chunks()) == [b"abcdef"]


def test_writing_goes_on_after_reading(spool: Spool) -> None:
    assert spool.read_at(1, 2) == b"bc"
    spool.write(b"g")
    assert spool.getvalue() == b"abcdefg"


def test_a_spool_is_opened_as_files_with_positions_of_their_own(spool: Spool) -> None:
    with spool.open() as one, spool.open() as other:
        assert one.read(2) == b"ab"
        assert other.read() == b"abcdef"
        assert one.read() == b"cdef"
        assert one.seek(-2, io.SEEK_END) == 4
        assert one.read() == b"ef"
        assert one.seek(1) == 1
        assert one.seek(1, io.SEEK_CUR) == 2
        assert one.readable()
        assert one.seekable()
        assert list(io.TextIOWrapper(other)) == []
    assert spool.getvalue() == b"abcdef"


def test_a_closed_spool_is_empty(spool: Spool) -> None:
    spool.close()
    assert spool.size == 0
    assert spool.getvalue() == b""
    spool.close()


def test_a_spool_that_is_dropped_closes_its_file() -> None:
    spool = Spool(0)
    spool.write(b"x")
    file = spool._file
    assert file is not None
    del spool
    assert file.closed


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool(0)
    spool.write(b"x")
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_a_stream_is_read_by_a_plain_loop() -> None:
    assert list(BodyStream(Arriving(b"a", b"b"))) == [b"a", b"b"]


async def test_a_stream_is_read_by_an_async_loop() -> None:
    assert [piece async for piece in BodyStream(Arriving(b"a", b"b"))] == [b"a", b"b"]


def test_a_second_loop_goes_on_where_the_first_stopped() -> None:
    stream = BodyStream(Arriving(b"a", b"b"))
    assert next(stream) == b"a"
    assert list(stream) == [b"b"]
    assert list(stream) == []


async def test_a_held_body_looks_like_one_on_its_way(spool: Spool) -> None:
    assert list(BodyStream(HeldBody(b"ab"))) == [b"ab"]
    assert list(BodyStream(HeldBody(b""))) == []
    assert [piece async for piece in BodyStream(HeldBody(spool))] == [b"abcdef"]


@pytest.mark.parametrize(("limit", "kind"), [(10, bytes), (1, Spool)])
async def test_a_body_is_collected_in_memory_or_on_disk(limit: int, kind: type) -> None:
    body = await collect(Arriving(b"ab", b"c"), limit)
    assert isinstance(body, kind)
    assert (body if isinstance(body, bytes) else body.getvalue()) == b"abc"
