"""What a saga consists of: steps, one after the other or side by side, and waits between them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from cello.errors import ConfigError
from cello.pipeline.colour import describe, must_be_awaited

Action = Callable[..., Any]


class StepRun(NamedTuple):
    """What an action or compensation may know of its call, as its second parameter.

    Attributes:
        key: The idempotency key: the same whenever this action of this execution is called, also after crashes.
        execution_id: The execution.
        saga: Its saga.
        step: The step.
        attempt: From 1.
        results: What the steps have returned, by name.
        action_key: The key of the action: the same as `key`, but for compensations the key of what they undo.
        reason: For compensations: why, in words.
    """

    key: str
    execution_id: str
    saga: str
    step: str
    attempt: int
    results: dict[str, Any]
    action_key: str
    reason: str | None = None


class SagaStep:
    """One step.

    Args:
        name: Unique in its saga; it is what the log knows the step by.
        action: Does it: `def` or `async def`, of the context, and of a `StepRun` if it takes two arguments.
        compensate: Undoes it, called in the same way; it may find that nothing was done.
        timeout: Seconds that an attempt of either may take.
        max_retries: Instead of the config's.
        retry_delay_ms: Instead of the config's.

    Raises:
        ConfigError: An argument cannot work.
    """

    def __init__(
        self,
        name: str,
        action: Action,
        compensate: Action | None = None,
        timeout: float | None = None,
        *,
        max_retries: int | None = None,
        retry_delay_ms: float | None = None,
    ) -> None:
        where = f"the step {name!r:.80}"
        if type(name) is not str or not 0 < len(name) <= 200:
            raise ConfigError(f"a step's name is a string of 1 to 200 characters, not {name!r:.80}")
        if timeout is not None and not timeout > 0:
            raise ConfigError(f"{where}: timeout must be above 0 s, not {timeout!r:.80}")
        if max_retries is not None and max_retries < 0:
            raise ConfigError(f"{where}: max_retries must be at least 0, not {max_retries!r:.80}")
        if retry_delay_ms is not None and not retry_delay_ms >= 0:
            raise ConfigError(f"{where}: retry_delay_ms must be at least 0, not {retry_delay_ms!r:.80}")
        self.name = name
        self.action = action
        self.compensate = compensate
        self.timeout = timeout
        self.max_retries = max_retries
        self.retry_delay_ms = retry_delay_ms
        self.do = Call.of(f"{where}: its action", action)
        self.undo = None if compensate is None else Call.of(f"{where}: its compensation", compensate)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Call(NamedTuple):
    """An action or a compensation, and how it is called."""

    function: Action
    is_async: bool
    takes_run: bool

    @classmethod
    def of(cls, where: str, function: Action) -> "Call":
        """Bind a function.

        Raises:
            ConfigError: It cannot be called with the context, or the context and a `StepRun`.
        """
        if not callable(function):
            raise ConfigError(f"{where} is a function, not {function!r:.80}")
        try:
            signature = inspect.signature(function)
        except ValueError:  # a builtin does not say
            return cls(function, must_be_awaited(function), False)
        for count in (2, 1):
            try:
                signature.bind(*[None] * count)
            except TypeError:
                continue
            optional = [each for each in list(signature.parameters.values())[1:2] if each.default is not each.empty]
            return cls(function, must_be_awaited(function), count == 2 and not optional)
        raise ConfigError(f"{where}, {describe(function)}, must take the context, or the context and a StepRun")


class WaitForEvent(SagaStep):
    """Waits until somebody signals an event: `orchestrator.signal(execution_id, event, data)`.

    The data is put into the context under the event's name. An event that came before it was waited for counts.

    Args:
        event: Its name.
        timeout: Seconds after which the step fails; None: never.
        name: The step's name; None: the event's.
    """

    def __init__(self, event: str, timeout: float | None = None, *, name: str | None = None) -> None:
        super().__init__(name or event, _nothing, None, timeout)
        self.event = event


class Sleep(SagaStep):
    """Waits for a time to pass, be it days: nothing runs meanwhile, and a restart makes no difference.

    Args:
        seconds: How long; or a function of the context that says so.
        name: The step's name.
    """

    def __init__(self, seconds: float | Callable[[Any], float], *, name: str = "sleep") -> None:
        super().__init__(name, _nothing)
        self.seconds = seconds


class Parallel:
    """Steps side by side: the saga goes on when all have ended, and backwards if any has failed.

    Each has a copy of the context as it was before them all; what they change in it is put together by its members.
    """

    def __init__(self, *steps: SagaStep) -> None:
        if not steps or not all(isinstance(step, SagaStep) for step in steps):
            raise ConfigError(f"Parallel takes steps, not {steps!r:.80}")
        self.steps = steps


class Saga:
    """A saga; a subclass lists its steps, or they are added one by one.

    Args:
        name: What the log knows it by; None: the name of its class.

    Attributes:
        name: The same.
        steps: In order.
        context: The class of the context: dict, a dataclass or a Struct.
    """

    steps: Sequence[SagaStep | Parallel] = ()
    context: ClassVar[Any] = dict

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__
        self.steps = list(type(self).steps)

    def __repr__(self) -> str:
        return f"Saga({self.name!r}, {len(self.steps)} steps)"

    def add_step(self, step: SagaStep | Parallel) -> None:
        """Add a step behind the others."""
        self.steps = [*self.steps, step]

    def get_steps(self) -> list[SagaStep]:
        """Return all steps in order, those side by side one after the other."""
        return [step for stage in self.stages() for step in stage]

    def step_count(self) -> int:
        """Return how many steps there are."""
        return len(self.get_steps())

    def stages(self) -> list[tuple[SagaStep, ...]]:
        """Return the steps, those side by side together."""
        return [entry.steps if isinstance(entry, Parallel) else (entry,) for entry in self.steps]

    def check(self) -> None:
        """Raise where it cannot be executed.

        Raises:
            ConfigError: It has no steps, or two of one name.
        """
        for entry in self.steps:
            if not isinstance(entry, SagaStep | Parallel):
                raise ConfigError(f"saga {self.name!r:.80}: a step is a SagaStep, not {entry!r:.80}")
        names = [step.name for step in self.get_steps()]
        if not names:
            raise ConfigError(f"saga {self.name!r:.80} has no steps")
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise ConfigError(f"saga {self.name!r:.80} has two steps named {double!r:.80}")


def _nothing(context: Any) -> None:
    """Do nothing: waits have no action."""
