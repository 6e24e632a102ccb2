"""The compiled WebSocket codec: plain messages in one pass, from masked bytes to `str` or `bytes`.

Plain is a data frame that is a whole message, all there, and not compressed. Everything else (fragments, control
frames, compression, frames that come in pieces) is unmasked here and judged by `cello.wire.ws_messages`, as in the
other tier; so every rule but the order of bytes is written once. The contract is in `cello.wire.ws`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from cello.wire.ws import Close, Failure, Fault
from cello.wire.ws_messages import Messages, check_first_bytes, encode_message, read_control

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    object PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from *:
    """
    #ifdef _WIN32
    #include <winsock2.h>
    static Py_ssize_t cello_send(int fd, const char* data, Py_ssize_t size) { (void)fd; (void)data; (void)size; return 0; }
    #else
    #include <errno.h>
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    static Py_ssize_t cello_send(int fd, const char* data, Py_ssize_t size) {
        Py_ssize_t sent = send(fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
        return sent;
    }
    #endif
    """
    Py_ssize_t cello_send(int fd, const char* data, Py_ssize_t size) noexcept

cdef enum:
    TEXT = 1
    BINARY = 2
    FIRST_CONTROL = 8

cdef uint64_t HIGH_BITS = 0x8080808080808080ULL


cdef uint64_t unmask(
    unsigned char* target, const unsigned char* source, Py_ssize_t size, uint32_t mask, unsigned int turn
) noexcept nogil:
    """Write `source` unmasked to `target`; return a value with high bits where there are bytes beyond ASCII.

    Args:
        turn: How many bytes of the frame came before, modulo 4.
    """
    cdef uint64_t wide, word, seen = 0
    cdef unsigned char* key = <unsigned char*>&mask
    cdef unsigned char turned[8]
    cdef Py_ssize_t at = 0
    cdef unsigned int index
    for index in range(8):
        turned[index] = key[(index + turn) & 3]
    memcpy(&wide, turned, 8)
    while at + 8 <= size:
        memcpy(&word, source + at, 8)
        word ^= wide
        memcpy(target + at, &word, 8)
        seen |= word
        at += 8
    word = 0
    for index in range(<unsigned int>(size - at)):
        target[at + index] = source[at + index] ^ turned[index]
        word |= target[at + index]
    return (seen | word) & HIGH_BITS


cdef class Codec:
    """One side of one conversation.

    Args:
        limit_bytes: The longest message.
        inflater: What was agreed on compression, or None.
    """

    cdef object messages, inflater, begin_frame, add
    cdef bytes rest  # an incomplete header or control frame
    cdef uint64_t limit, left  # of the data frame that comes in pieces
    cdef uint32_t mask
    cdef unsigned int turn
    cdef bint is_in_frame, is_in_message, has_ended

    def __init__(self, limit_bytes, inflater=None):
        self.limit = limit_bytes
        self.inflater = inflater
        self.messages = Messages(limit_bytes, inflater)
        self.begin_frame = self.messages.begin_frame
        self.add = self.messages.add

    def receive(self, bytes data not None):
        """Return what `data`, with what came before, completes."""
        cdef list events = []
        cdef Py_ssize_t used
        if self.has_ended:
            return events
        if self.rest is not None:
            data = self.rest + data
            self.rest = None
        try:
            used = self.read(<const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), events)
            if used < PyBytes_GET_SIZE(data):
                self.rest = data[used:]
        except Fault as fault:
            self.has_ended = True
            events.append(Failure(fault.code, str(fault)))
        return events

    cdef Py_ssize_t read(self, const unsigned char* start, Py_ssize_t size, list events) except -1:
        """Read frames; return how many bytes were used."""
        cdef Py_ssize_t at = 0, header, available
        cdef uint64_t length
        cdef unsigned int first, second
        cdef int opcode
        cdef const unsigned char* frame
        while not self.has_ended:
            if self.is_in_frame:
                if at == size:
                    break
                at += self.read_piece(start + at, size - at, events)
                continue
            available = size - at
            if available < 2:
                break
            frame = start + at
            first, second = frame[0], frame[1]
            opcode = first & 0x0F
            if opcode > BINARY:
                check_first_bytes(first, second)
            length = second & 0x7F
            header = 2
            if length == 126:
                header = 4
                if available < 4:
                    break
                length = <uint64_t>frame[2] << 8 | frame[3]
                if length < 126:
                    raise Fault("a length not written in the shortest way (RFC 6455 §5.2)")
            elif length == 127:
                header = 10
                if available < 10:
                    break
                length = read_64(frame + 2)
                if length < 65536:
                    raise Fault("a length not written in the shortest way (RFC 6455 §5.2)")
                if length >> 63:
                    raise Fault("a length of more than 63 bits (RFC 6455 §5.2)")
            if first & 0x70:
                self.messages.check_reserved(first)
            if not second & 0x80:
                raise Fault("a frame without a mask (RFC 6455 §5.1)")
            header += 4
            if available < header:
                break
            memcpy(&self.mask, frame + header - 4, 4)
            if opcode >= FIRST_CONTROL:
                if <uint64_t>(available - header) < length:
                    break
                event = read_control(opcode, self.unmasked(frame + header, <Py_ssize_t>length, 0))
                self.has_ended = type(event) is Close
                events.append(event)
                at += header + <Py_ssize_t>length
            elif (
                first & 0xF0 == 0x80
                and not self.is_in_message
                and opcode
                and length <= <uint64_t>(available - header)
                and length <= self.limit
            ):
                if opcode == TEXT:
                    events.append(self.text(frame + header, <Py_ssize_t>length))
                else:
                    events.append(self.unmasked(frame + header, <Py_ssize_t>length, 0))
                at += header + <Py_ssize_t>length
            else:
                self.begin_frame(first, length)
                self.is_in_message = self.is_in_frame = True
                self.left = length
                self.turn = 0
                at += header
                if length == 0:
                    self.read_piece(frame + header, 0, events)
        return at

    cdef Py_ssize_t read_piece(self, const unsigned char* start, Py_ssize_t available, list events) except -1:
        """Hand on what there is of the frame's payload; return how many bytes that is."""
        cdef Py_ssize_t size = available
        if <uint64_t>available > self.left:
            size = <Py_ssize_t>self.left
        piece = self.unmasked(start, size, self.turn)
        self.turn = (self.turn + <unsigned int>(size & 3)) & 3
        self.left -= <uint64_t>size
        self.is_in_frame = self.left != 0
        event = self.add(piece, is_end=not self.is_in_frame)
        if event is not None:
            events.append(event)
            self.is_in_message = False
        return size

    cdef bytes unmasked(self, const unsigned char* start, Py_ssize_t size, unsigned int turn):
        cdef bytes payload = PyBytes_FromStringAndSize(NULL, size)
        if size:
            unmask(<unsigned char*>PyBytes_AS_STRING(payload), start, size, self.mask, turn)
        return payload

    cdef str text(self, const unsigned char* start, Py_ssize_t size):
        """Return a payload as text. PERF: unmasked right into the string, where it is ASCII."""
        if size == 0:
            return ""
        text = PyUnicode_New(size, 127)
        cdef unsigned char* target = <unsigned char*>PyUnicode_DATA(text)
        if unmask(target, start, size, self.mask, 0):
            try:
                return PyUnicode_DecodeUTF8(<const char*>target, size, NULL)
            except UnicodeDecodeError:
                # Worded, and given its code, where all other text is.
                self.begin_frame(0x81, size)
                self.add(self.unmasked(start, size, 0), is_end=True)
        return text

    def encode(self, message):
        """Return a message as one frame."""
        cdef const char* source
        cdef Py_ssize_t size, header
        cdef bytes frame
        cdef unsigned char* out
        cdef int opcode
        if isinstance(message, str):
            source = PyUnicode_AsUTF8AndSize(message, &size)
            opcode = TEXT
        else:
            source = PyBytes_AS_STRING(<bytes?>message)
            size = PyBytes_GET_SIZE(<bytes>message)
            opcode = BINARY
        if self.inflater is not None:
            return encode_message(message, self.inflater)
        header = 2 if size < 126 else 4 if size < 65536 else 10
        frame = PyBytes_FromStringAndSize(NULL, header + size)
        out = <unsigned char*>PyBytes_AS_STRING(frame)
        out[0] = 0x80 | opcode
        if header == 2:
            out[1] = <unsigned char>size
        elif header == 4:
            out[1] = 126
            out[2] = <unsigned char>(size >> 8)
            out[3] = <unsigned char>(size & 0xFF)
        else:
            out[1] = 127
            write_64(out + 2, <uint64_t>size)
        memcpy(out + header, source, size)
        return frame


cdef uint64_t read_64(const unsigned char* source) noexcept nogil:
    cdef uint64_t value = 0
    cdef int index
    for index in range(8):
        value = value << 8 | source[index]
    return value


cdef void write_64(unsigned char* target, uint64_t value) noexcept nogil:
    cdef int index
    for index in range(8):
        target[7 - index] = <unsigned char>(value & 0xFF)
        value >>= 8


cdef class Wire:
    """A socket that another thread's transport owns, for sending past that transport.

    The interpreter's lock is held from the look at the descriptor to the end of the call, which never waits. So whoever
    calls `forget` before the descriptor is closed can be sure that no byte goes to whoever gets its number next.
    """

    cdef int fd

    def __init__(self, int fd):
        self.fd = fd

    def send(self, bytes data not None):
        """Return how many bytes the socket took at once, or -1 when it is gone."""
        if self.fd < 0:
            return -1
        return cello_send(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def forget(self):
        """Never touch the socket again."""
        self.fd = -1
