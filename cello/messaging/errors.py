"""What goes wrong with messages, in one tree whatever the broker.

Rule 1: what the broker cannot do now (`BrokerUnavailable`) is an answer where a handler lets it through: 503 with
`Retry-After`, whose detail never holds the client library's words. What the program did wrong stays an exception.
Rule 2: the library's exception is the `__cause__`.
Rule 3: an error of `send` means that the message was not confirmed. It may have arrived all the same: who sends it
again should give it the same `id`.
"""

from collections.abc import Mapping, Sequence

from cello.errors import CelloError, HTTPError


class MessagingError(CelloError):
    """Base of all errors of brokers."""


class BrokerUnavailable(MessagingError, HTTPError):
    """The broker cannot be reached, refuses us, or did not confirm in time. Answered 503."""

    status = 503

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.detail: str | None = "The message broker is not available."
        self.headers: dict[str, str] = {"Retry-After": "1"}
        self.extensions: dict[str, object] = {}


class SendTimeout(BrokerUnavailable):
    """The broker did not confirm a message in time; it may have arrived."""


class Refused(MessagingError):
    """The broker did not take a message, and would not if it were sent again."""


class Unroutable(Refused):
    """There is no queue or topic that the message would go to."""


class TooLarge(Refused):
    """The message is larger than the broker takes."""


class InvalidBody(MessagingError):
    """A received body is not what the consumer's annotation says; such a message is dead-lettered at once.

    Attributes:
        places: In a batch: which of its messages.
    """

    def __init__(self, message: str, places: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.places = tuple(places)


class BatchError(MessagingError):
    """Some messages of a batch were not confirmed.

    Attributes:
        errors: What was wrong with each of them, by its place in the batch.
        confirmed: How many were.
    """

    def __init__(self, errors: Mapping[int, Exception], confirmed: int) -> None:
        first = next(iter(errors.values()))
        super().__init__(f"{len(errors)} of {len(errors) + confirmed} messages were not confirmed; the first: {first}")
        self.errors = dict(errors)
        self.confirmed = confirmed
