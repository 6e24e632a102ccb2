"""How aiokafka is set up, and the names of its errors here."""

import asyncio
import contextlib
import functools
import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from cello.errors import ConfigError, MissingDependency
from cello.messaging.errors import BrokerUnavailable, MessagingError, Refused, SendTimeout, TooLarge, Unroutable
from cello.messaging.kafka.config import KafkaConfig

logger = logging.getLogger("cello.messaging")

DEFAULT_CLIENT_ID = "cello"
CLOSE_S = 5.0
"""How long a client may take to end in an orderly way."""
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def require_aiokafka() -> None:
    """Check that aiokafka is installed, without loading it.

    Raises:
        MissingDependency: It is not; the message names the extra.
    """
    from importlib.util import find_spec  # only an application with Kafka asks

    if find_spec("aiokafka") is None:
        raise MissingDependency("Kafka needs 'aiokafka': pip install 'cello[kafka]'")


def connection_options(config: KafkaConfig) -> dict[str, Any]:
    """Return the arguments that all of aiokafka's clients take.

    Raises:
        ConfigError: A file of certificates cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.brokers),
        "client_id": config.client_id or DEFAULT_CLIENT_ID,
        "security_protocol": config.security_protocol,
        "sasl_mechanism": config.sasl_mechanism,
        "sasl_plain_username": config.sasl_username,
        "sasl_plain_password": config.sasl_password,
    }
    if config.security_protocol.endswith("SSL"):
        try:
            context = ssl.create_default_context(cafile=config.ssl_cafile)
            if config.ssl_certfile is not None:
                context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile)
        except OSError as error:
            raise ConfigError(f"KafkaConfig: the certificates cannot be read: {error}") from error
        options["ssl_context"] = context
    return options


@functools.lru_cache(maxsize=1024)
def check_topic(topic: str) -> str:
    """Return a topic's name.

    Raises:
        ConfigError: Kafka takes no such name.
    """
    if not TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise ConfigError(f"{topic!r:.80} is no topic: letters, digits, '.', '_' and '-', 249 at most")
    return topic


@contextlib.contextmanager
def translated(where: str, what: str) -> Iterator[None]:
    """Raise what aiokafka raises as an error of ours; time limits around it are `SendTimeout`s.

    Args:
        where: The brokers.
        what: What was tried, such as "send to 'orders'".
    """
    try:
        yield
    except Exception as error:
        translation = translation_of(error, where, what)
        if translation is None:
            raise
        raise translation from error


def translation_of(error: Exception, where: str, what: str) -> MessagingError | None:
    """Return an error of ours that says what one of aiokafka's does; None where it is none of those."""
    from aiokafka import errors

    if isinstance(error, MessagingError):
        return None
    if isinstance(error, TimeoutError):
        return SendTimeout(f"Kafka at {where}: no confirmation in time: {what}")
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
        return TooLarge(f"Kafka at {where}: the message is too large: {what}")
    if isinstance(error, errors.UnknownTopicOrPartitionError | errors.InvalidTopicError):
        return Unroutable(f"Kafka at {where}: there is no such topic: {what}")
    if isinstance(
        error,
        errors.TopicAuthorizationFailedError
        | errors.GroupAuthorizationFailedError
        | errors.ClusterAuthorizationFailedError
        | errors.TransactionalIdAuthorizationFailed
        | errors.PolicyViolationError
        | errors.InvalidTimestampError
        | errors.UnsupportedVersionError,
    ):
        return Refused(f"Kafka at {where} refuses ({type(error).__name__}): {what}")
    if isinstance(error, errors.KafkaError | errors.ConsumerStoppedError | OSError):
        return BrokerUnavailable(f"Kafka at {where}: {what}: {type(error).__name__}: {error}")
    return None


async def prepare_topics(config: KafkaConfig, topic: str, beside: Sequence[str]) -> None:
    """Make the topics that stand beside another one, as broad as that; where Kafka lets us.

    Where it does not, they come into being when they are used, or do not, as the brokers are set up.
    """
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    async with _started(AIOKafkaAdminClient(**connection_options(config))) as admin:
        there = await admin.list_topics()
        missing = [name for name in beside if name not in there]
        if topic not in there or not missing:
            return
        (found,) = await admin.describe_topics([topic])
        width = len(found["partitions"]) or 1
        copies = len(found["partitions"][0]["replicas"]) if found["partitions"] else 1
        try:
            await admin.create_topics([NewTopic(name, width, max(1, copies)) for name in missing])
        except Exception as error:  # noqa: BLE001  # rights, no controller, another worker was first: see above
            logger.debug("the topics %s were not made: %r", ", ".join(missing), error)


@contextlib.asynccontextmanager
async def _started(client: Any) -> AsyncIterator[Any]:
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def close_producer(producer: Any) -> None:
    """End a producer; what it cannot send in time is lost, and whoever waits for that hears it."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await producer.stop()
    except TimeoutError:
        # aiokafka waits for ever for what cannot be sent; its task would go on trying.
        await producer._sender.close()
        await producer.client.close()
    except Exception:
        logger.exception("closing a producer of Kafka")


async def close_consumer(consumer: Any) -> None:
    """End a consumer, and leave its group where that can be done in time."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await consumer.stop()
    except TimeoutError:
        # aiokafka waits for a rebalance that is under way, until the slowest member has joined.
        coordinator = consumer._coordinator
        tasks = [coordinator._coordination_task, coordinator._heartbeat_task, coordinator._commit_refresh_task]
        ending = [task for task in tasks if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await consumer._fetcher.close()
        await consumer._client.close()
    except Exception:
        logger.exception("closing a consumer of Kafka")
