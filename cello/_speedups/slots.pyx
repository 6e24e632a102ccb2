"""The compiled twin of `cello/shared/slots.py`: words changed by the processor's own atomic instructions.

A change takes effect at once or not at all, also where its process is killed in the middle, and needs no lock. Digests
are SipHash-1-3, keyed by the arena's secret; those of the pure twin differ, which is one reason why an arena refuses a
mixture of the two.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from *:
    """
    #ifdef _MSC_VER
    #include <intrin.h>
    static __int64 cello_load(__int64* word) { return _InterlockedOr64(word, 0); }
    static void cello_store(__int64* word, __int64 value) { (void)_InterlockedExchange64(word, value); }
    static __int64 cello_add(__int64* word, __int64 number) { return _InterlockedExchangeAdd64(word, number) + number; }
    static int cello_swap(__int64* word, __int64 expected, __int64 value) {
        return _InterlockedCompareExchange64(word, value, expected) == expected;
    }
    #else
    static int64_t cello_load(int64_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static void cello_store(int64_t* word, int64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static int64_t cello_add(int64_t* word, int64_t number) {
        return (int64_t)__atomic_add_fetch((uint64_t*)word, (uint64_t)number, __ATOMIC_ACQ_REL);
    }
    static int cello_swap(int64_t* word, int64_t expected, int64_t value) {
        return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    #endif
    """
    int64_t cello_load(int64_t* word) noexcept nogil
    void cello_store(int64_t* word, int64_t value) noexcept nogil
    int64_t cello_add(int64_t* word, int64_t number) noexcept nogil
    bint cello_swap(int64_t* word, int64_t expected, int64_t value) noexcept nogil


cdef inline uint64_t rotated(uint64_t word, int by) noexcept nogil:
    return (word << by) | (word >> (64 - by))


cdef uint64_t siphash(uint64_t k0, uint64_t k1, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    """Return SipHash-1-3 of `data` (Aumasson and Bernstein 2012, one round per block and three at the end)."""
    cdef uint64_t v0 = k0 ^ 0x736F6D6570736575ULL
    cdef uint64_t v1 = k1 ^ 0x646F72616E646F6DULL
    cdef uint64_t v2 = k0 ^ 0x6C7967656E657261ULL
    cdef uint64_t v3 = k1 ^ 0x7465646279746573ULL
    cdef uint64_t block
    cdef Py_ssize_t at = 0
    cdef int turn, rounds
    while True:
        if at + 8 <= size:
            memcpy(&block, data + at, 8)
            rounds = 1
        else:
            block = <uint64_t>size << 56
            for turn in range(<int>(size - at)):
                block |= <uint64_t>data[at + turn] << (8 * turn)
            rounds = 4
        v3 ^= block
        for turn in range(rounds):
            if turn == 1:  # the last block is in: the three rounds of the end follow
                v0 ^= block
                v2 ^= 0xFF
            v0 += v1
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 += v3
            v3 = rotated(v3, 16) ^ v2
            v0 += v3
            v3 = rotated(v3, 21) ^ v0
            v2 += v1
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)
        if rounds == 4:
            return v0 ^ v1 ^ v2 ^ v3
        v0 ^= block
        at += 8


cdef class Slots:
    """A row of signed 64-bit words.

    Args:
        memory: Bytes, 8 per word, aligned.
        gate: The locks of the region; not needed here.
        secret: 16 bytes that make digests unpredictable, the same in all processes.

    Attributes:
        count: How many words there are.
    """

    def __init__(self, memory, gate, secret):
        cdef Py_buffer buffer
        cdef bytes key = bytes(secret)
        if len(key) != 16:
            raise ValueError("the secret has 16 bytes")
        PyObject_GetBuffer(memory, &buffer, PyBUF_WRITABLE)
        self.words = <int64_t*>buffer.buf
        self.count = buffer.len // 8
        # The memoryview itself is kept, and with it the mapping; a buffer of its own is not needed to hold it.
        PyBuffer_Release(&buffer)
        self._memory = memory
        memcpy(&self._k0, <const char*>key, 8)
        memcpy(&self._k1, <const char*>key + 8, 8)

    cpdef int64_t get(self, Py_ssize_t index) except? -1:
        """Return a word; IndexError where there is no such word, as in all methods."""
        if index < 0 or index >= self.count:
            raise IndexError("there is no such word")
        return cello_load(&self.words[index])

    cpdef set(self, Py_ssize_t index, int64_t value):
        """Change a word, whatever it was."""
        if index < 0 or index >= self.count:
            raise IndexError("there is no such word")
        cello_store(&self.words[index], value)

    cpdef int64_t add(self, Py_ssize_t index, int64_t number) except? -1:
        """Add to a word, modulo 2**64; return what it is then."""
        if index < 0 or index >= self.count:
            raise IndexError("there is no such word")
        return cello_add(&self.words[index], number)

    cpdef bint swap(self, Py_ssize_t index, int64_t expected, int64_t value) except -1:
        """Change a word if it still is `expected`; return whether."""
        if index < 0 or index >= self.count:
            raise IndexError("there is no such word")
        return cello_swap(&self.words[index], expected, value)

    cpdef int64_t digest(self, str key) except -1:
        """Return a positive number that stands for `key`, the same in all processes of this arena."""
        cdef Py_ssize_t size
        cdef const char* text
        cdef bytes encoded
        try:
            text = PyUnicode_AsUTF8AndSize(key, &size)
        except UnicodeEncodeError:  # a lone surrogate
            encoded = key.encode("utf-8", "surrogatepass")
            text, size = encoded, len(encoded)
        cdef int64_t found = <int64_t>(siphash(self._k0, self._k1, <const uint8_t*>text, size) >> 1)
        return found if found else 1
