"""What handlers get as `Depends("rabbitmq")` and `app.rabbitmq`: sends in both colours, and declares consumers."""

from collections.abc import Callable
from typing import Any, TypeVar

from cello.database.colours import Both
from cello.messaging.declared import Declared, declaring
from cello.messaging.producer import BlockingProducer, Producer

F = TypeVar("F", bound=Callable[..., Any])


class Messenger(Both[Producer, BlockingProducer]):
    """Sends messages: `send` and `send_batch` are awaited in `async def` and return results in `def`.

    Attributes:
        aio: The producer for `async def`, whoever calls.
        blocking: The producer for `def`, whoever calls.
    """

    __slots__ = ("_declared", "_kind", "_refuse_late")

    def __init__(
        self, kind: str, aio: Producer, blocking: BlockingProducer, declared: Declared, refuse_late: Callable[[], None]
    ) -> None:
        super().__init__(aio, blocking)
        self._kind = kind
        self._declared = declared
        self._refuse_late = refuse_late

    def consumer(self, topic: str = "", **options: Any) -> Callable[[F], F]:
        """Have a function handle the messages of a topic or queue, in this application.

        Args:
            topic: The topic or queue; "" where the config says it.
            options: Those of `cello.messaging.declared.consumer_of`, and of the broker.

        Raises:
            ConfigError: Something is out of range, or the application has started already.
        """
        self._refuse_late()
        return declaring(self._declared, self._kind, topic, **options)
