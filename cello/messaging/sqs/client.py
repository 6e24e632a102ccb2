"""How aiobotocore is set up, and the names of its errors here."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from cello.errors import MissingDependency
from cello.messaging.errors import BrokerUnavailable, MessagingError, Refused, SendTimeout, TooLarge, Unroutable
from cello.messaging.sqs.config import SqsConfig

CONNECTIONS = 50
"""Most to the server at a time."""
NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
TOO_LARGE = ("AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong", "MessageTooLong")
OVERLOADED = ("RequestThrottled", "Throttling", "ThrottlingException", "OverLimit", "ServiceUnavailable")


def require_aiobotocore() -> None:
    """Check that aiobotocore is installed, without loading it: that takes more than a second.

    Raises:
        MissingDependency: It is not; the message names the extra.
    """
    from importlib.util import find_spec  # only an application with SQS asks

    if find_spec("aiobotocore") is None:
        raise MissingDependency("SQS needs 'aiobotocore': pip install 'cello[sqs]'")


def make_client(config: SqsConfig) -> Any:
    """Return an async context manager of a client of SQS."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    return get_session().create_client(
        "sqs",
        region_name=config.region,
        endpoint_url=config.endpoint_url,
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key,
        aws_session_token=config.session_token,
        config=AioConfig(
            connect_timeout=config.connection_timeout_secs,
            read_timeout=config.connection_timeout_secs + config.wait_time_secs,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "max_attempts": 3},
        ),
    )


@contextlib.contextmanager
def translated(where: str, what: str) -> Iterator[None]:
    """Raise what aiobotocore raises as an error of ours; time limits around it are `SendTimeout`s.

    Args:
        where: The server.
        what: What was tried, such as "send to 'orders'".
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (MessagingError, asyncio.CancelledError):
        raise
    except TimeoutError as error:
        raise SendTimeout(f"SQS at {where}: no confirmation in time: {what}") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        raise error_of(error.response.get("Error", {}), status, f"SQS at {where}: {what}") from error
    except (BotoCoreError, OSError) as error:
        raise BrokerUnavailable(f"SQS at {where}: {what}: {type(error).__name__}: {error}") from error


def error_of(said: Any, status: int, what: str) -> MessagingError:
    """Return what an answer's error is here.

    Args:
        said: Its `Code` and `Message`.
        status: Its HTTP status.
        what: What was tried.
    """
    code, words = str(said.get("Code", "")), str(said.get("Message", ""))
    text = f"{what}: {code}: {words:.300}"
    if code.rpartition("#")[2] in NO_QUEUE or "NonExistentQueue" in code:
        return Unroutable(text)
    if code in TOO_LARGE or (code.startswith("InvalidParameterValue") and "bytes" in words):
        return TooLarge(text)
    if status >= 500 or code in OVERLOADED:
        return BrokerUnavailable(text)
    return Refused(text)
