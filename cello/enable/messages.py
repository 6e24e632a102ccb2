"""Brokers, and the outbox that sends what a transaction decided."""

from typing import TYPE_CHECKING, Any

from cello.enable.base import Base

if TYPE_CHECKING:
    from cello.messaging.kafka.config import KafkaConfig
    from cello.messaging.outbox import Outbox
    from cello.messaging.rabbitmq.config import RabbitMQConfig
    from cello.messaging.sqs.config import SqsConfig


class Messages(Base):
    """Brokers, and the outbox that sends what a transaction decided."""

    def enable_messaging(
        self,
        config: "KafkaConfig | None" = None,
        *,
        startup: str = "fail",
        consumers: str = "everywhere",
        drain_timeout: float = 30,
    ) -> None:
        """Send and consume messages by Kafka.

        `app.kafka` and `Depends("kafka")` send; functions under `@app.kafka.consumer("topic")` consume, and so
        do those under `@kafka_consumer("topic")` of `cello.messaging`.

        Args:
            config: Which cluster; None for the broker on this machine.
            startup: When it cannot be reached: "fail" to end the start with an error, "wait" to start and keep trying
                (not ready until then), "lazy" to connect at the first use.
            consumers: Where they run: "everywhere" the application does, or only in a "worker" (`cello worker`).
            drain_timeout: Seconds in which consumers may finish what they have in hand when the application stops.

        Raises:
            ConfigError: An argument is of the wrong kind or out of range.
            MissingDependency: aiokafka is not installed.
        """
        from cello.features.messaging.switch import MessagingSwitch
        from cello.messaging.declared import KAFKA
        from cello.messaging.kafka.config import as_config

        found = as_config(config)
        self._host.install(
            MessagingSwitch(
                KAFKA,
                "enable_messaging",
                found,
                prefetch=found.max_poll_records,
                startup=startup,
                consumers=consumers,
                drain_timeout=drain_timeout,
                auto_ack=found.auto_commit,
            )
        )

    @property
    def kafka(self) -> Any:
        """Kafka: `send` and `send_batch` are awaited in `async def` and return results in `def`.

        `@app.kafka.consumer("topic")` declares a consumer.

        Raises:
            ConfigError: `enable_messaging()` was not called.
        """
        return self._resource("kafka", "enable_messaging()")

    def enable_rabbitmq(
        self,
        config: "RabbitMQConfig | str | None" = None,
        *,
        startup: str = "fail",
        consumers: str = "everywhere",
        drain_timeout: float = 30,
    ) -> None:
        """Send and consume messages by RabbitMQ.

        `app.rabbitmq` and `Depends("rabbitmq")` send; functions under `@app.rabbitmq.consumer("queue")` consume, and so
        do those under `@rabbitmq_consumer("queue")` of `cello.messaging`.

        Args:
            config: Which server; a URL will do; None for the one on this machine.
            startup: When it cannot be reached: "fail" to end the start with an error, "wait" to start and keep trying
                (not ready until then), "lazy" to connect at the first use.
            consumers: Where they run: "everywhere" the application does, or only in a "worker" (`cello worker`).
            drain_timeout: Seconds in which consumers may finish what they have in hand when the application stops.

        Raises:
            ConfigError: The URL is no RabbitMQ's, or an argument is out of range.
            MissingDependency: aio-pika is not installed.
        """
        from cello.features.messaging.switch import MessagingSwitch
        from cello.messaging.declared import RABBITMQ
        from cello.messaging.rabbitmq.config import as_config

        found = as_config(config)
        self._host.install(
            MessagingSwitch(
                RABBITMQ,
                "enable_rabbitmq",
                found,
                prefetch=found.prefetch_count,
                startup=startup,
                consumers=consumers,
                drain_timeout=drain_timeout,
            )
        )

    @property
    def rabbitmq(self) -> Any:
        """RabbitMQ: `send` and `send_batch` are awaited in `async def` and return results in `def`.

        `@app.rabbitmq.consumer("queue")` declares a consumer.

        Raises:
            ConfigError: `enable_rabbitmq()` was not called.
        """
        return self._resource("rabbitmq", "enable_rabbitmq()")

    def enable_sqs(
        self,
        config: "SqsConfig | None" = None,
        *,
        startup: str = "fail",
        consumers: str = "everywhere",
        drain_timeout: float = 30,
    ) -> None:
        """Send and consume messages by SQS.

        `app.sqs` and `Depends("sqs")` send; functions under `@app.sqs.consumer("queue")` consume, and so
        do those under `@sqs_consumer("queue")` of `cello.messaging`.

        Args:
            config: Which region, server and queue.
            startup: When it cannot be reached: "fail" to end the start with an error, "wait" to start and keep trying
                (not ready until then), "lazy" to connect at the first use.
            consumers: Where they run: "everywhere" the application does, or only in a "worker" (`cello worker`).
            drain_timeout: Seconds in which consumers may finish what they have in hand when the application stops.

        Raises:
            ConfigError: An argument is of the wrong kind or out of range.
            MissingDependency: aiobotocore is not installed.
        """
        from cello.features.messaging.switch import MessagingSwitch
        from cello.messaging.declared import SQS
        from cello.messaging.sqs.config import PREFETCH, as_config

        found = as_config(config)
        self._host.install(
            MessagingSwitch(
                SQS,
                "enable_sqs",
                found,
                prefetch=PREFETCH,
                startup=startup,
                consumers=consumers,
                drain_timeout=drain_timeout,
            )
        )

    @property
    def sqs(self) -> Any:
        """SQS: `send` and `send_batch` are awaited in `async def` and return results in `def`.

        `@app.sqs.consumer("queue")` declares a consumer.

        Raises:
            ConfigError: `enable_sqs()` was not called.
        """
        return self._resource("sqs", "enable_sqs()")

    def enable_outbox(
        self, broker: str = "rabbitmq", table: str = "cello_outbox", *, interval: float = 0.2, attempts: int = 10
    ) -> None:
        """Send messages if, and only if, a transaction of the database is committed: `app.outbox.send(topic, value)`.

        It needs `enable_database` and the broker's switch. Messages are rows of a table until the broker has them; one
        process at a time sends them. They may arrive twice, under the same id, and do arrive once.

        Args:
            broker: "rabbitmq" or another that is enabled.
            table: Where messages wait; it is made at the start, as is one with "_lease" behind its name.
            interval: Seconds between two looks at the table.
            attempts: How often a message is tried that the broker refuses; then its row stays, with the error.

        Raises:
            ConfigError: An argument is out of range; at the start: there is no database, or no such broker.
        """
        from cello.features.messaging.outbox import OutboxSwitch

        self._host.install(OutboxSwitch(broker, table, interval=interval, attempts=attempts))

    @property
    def outbox(self) -> "Outbox":
        """The outbox; its `send` is awaited in `async def` and a plain call in `def`.

        Raises:
            ConfigError: `enable_outbox()` was not called.
        """
        found: Outbox = self._resource("outbox", "enable_outbox()")
        return found
