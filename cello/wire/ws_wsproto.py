"""The tier on wsproto: pure Python, always there.

wsproto finds the frames and unmasks them. Messages are put together by ws_messages.py: wsproto's own way knows no limit
for a message, no bound for fragments, and accepts offers of compression that it should decline.
"""

from wsproto.frame_protocol import FrameDecoder, Opcode, ParseFailed, RsvBits

from cello.wire.ws import Close, Event, Failure, Fault, Inflater
from cello.wire.ws_messages import Messages, encode_message, read_control


class WsprotoCodec:
    """One side of one conversation; the contract is in ws.py."""

    __slots__ = ("_frames", "_has_ended", "_inflater", "_messages")

    def __init__(self, limit_bytes: int, inflater: Inflater | None = None) -> None:
        self._inflater = inflater
        self._messages = Messages(limit_bytes, inflater)
        self._frames = _Frames(self._messages)
        self._has_ended = False

    def receive(self, data: bytes) -> list[Event]:
        """Return what `data`, with what came before, completes."""
        if self._has_ended:
            return []
        self._frames.receive_bytes(data)
        events: list[Event] = []
        try:
            while not self._has_ended:
                frame = self._frames.process_buffer()
                if frame is None:
                    break
                self._take(frame.payload, is_end=frame.frame_finished, events=events)
        except ParseFailed as error:
            self._has_ended = True
            events.append(Failure(error.code, str(error)))
        except Fault as fault:
            self._has_ended = True
            events.append(Failure(fault.code, str(fault)))
        return events

    def _take(self, payload: object, *, is_end: bool, events: list[Event]) -> None:
        assert isinstance(payload, bytes)  # only MessageDecoder, which is not used, makes it anything else
        opcode = self._frames.opcode
        if opcode.iscontrol():  # always whole
            event: Event | None = read_control(opcode, payload)
            self._has_ended = isinstance(event, Close)
        else:
            event = self._messages.add(payload, is_end=is_end)
        if event is not None:
            events.append(event)

    def encode(self, message: str | bytes) -> bytes:
        """Return a message as one frame."""
        return encode_message(message, self._inflater)


class _Frames(FrameDecoder):
    """wsproto's frames, with our rules for reserved bits and messages asked where its own would be."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(client=False)
        self._messages = messages
        self.opcode = Opcode.CONTINUATION

    def extension_processing(self, opcode: Opcode, rsv: RsvBits, payload_len: int) -> None:
        self._messages.check_reserved(_first_byte(False, rsv, opcode))

    def parse_header(self) -> bool:
        if not super().parse_header() or self.header is None:
            return False
        fin, rsv, opcode, size, _ = self.header
        self.opcode = opcode
        if not opcode.iscontrol():
            self._messages.begin_frame(_first_byte(fin, rsv, opcode), size)
        return True


def _first_byte(fin: bool, rsv: RsvBits, opcode: Opcode) -> int:
    return fin << 7 | rsv.rsv1 << 6 | rsv.rsv2 << 5 | rsv.rsv3 << 4 | opcode
