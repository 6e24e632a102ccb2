"""graphql-core's executor with a short way for objects and lists that are plain values through and through."""

from typing import Any

from graphql import GraphQLObjectType
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental

from cello.graphql.plain import Complete, Completing


class PlainExecutor(ExecutorThrowingOnIncremental):
    """Completes plain objects in one loop each; see `cello.graphql.plain` for what is plain."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._completing = Completing(self.schema, self._selected)
        self._made: dict[tuple[str, int], tuple[Any, Complete | None]] = {}

    def complete_object_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        """Complete an object."""
        complete = self._for(return_type, field_details_list)
        if complete is not None:
            try:
                return complete(result)
            except Exception:  # noqa: BLE001, S110  # whatever it was: it comes again on the long way, and is told there
                pass
        return super().complete_object_value(return_type, field_details_list, info, path, result, position_context)

    def complete_iterable_value(
        self, item_type: Any, field_details_list: Any, info: Any, path: Any, items: Any, position_context: Any
    ) -> Any:
        """Complete a list."""
        complete = self._for(item_type, field_details_list) if isinstance(items, list | tuple) else None
        if complete is not None:
            try:
                return [complete(item) for item in items]
            except Exception:  # noqa: BLE001, S110  # as above; the items beside the fault still take the short way
                pass
        return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)

    def _for(self, kind: Any, details: Any) -> Complete | None:
        """Return what completes plain values, made once for each selection of the operation."""
        key = (str(kind), id(details))
        found = self._made.get(key)
        if found is None:
            is_off = self.middleware_manager is not None or self.abort_signal is not None
            # The details are kept too: their id is theirs only as long as they live.
            found = self._made[key] = (details, None if is_off else self._completing.of(kind, details))
        return found[1]

    def _selected(self, kind: GraphQLObjectType, details: Any) -> Any:
        selected, deferred, _ = self.collect_subfields(kind, details)
        return None if deferred else selected
