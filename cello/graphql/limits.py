"""What a query may cost, told from its text before anything is executed.

Depth counts levels of fields, complexity what the fields cost, those in lists times the items that are asked for
(`first`, `last` or `limit`). Both look through fragments, each of which is measured once: spreading a fragment that
spreads fragments costs the sender more than us. Fields of introspection are free; they are allowed or not.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from cello.graphql.config import GraphQLConfig

COUNTS = ("first", "last", "limit")
MOST_ITEMS = 1_000_000


class Size(NamedTuple):
    """What a selection comes to."""

    depth: int = 0
    complexity: int = 0
    aliases: int = 0


class Measure:
    """Measures the operations of one document.

    Args:
        schema: Its types, for what fields cost.
        document: Parsed and valid: its fragments make no circles.
        variables: Of the request.

    Attributes:
        looks_at_variables: Whether the result depends on them.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._measured: dict[str, Size] = {}
        self.looks_at_variables = False

    def size(self, operation: OperationDefinitionNode) -> Size:
        """Return the size of an operation."""
        return self._selection(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selection(self, selection: SelectionSetNode, parent: Any) -> Size:
        depth = complexity = aliases = 0
        for node in selection.selections:
            if isinstance(node, FieldNode):
                size = self._field(node, parent)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                kind = parent if condition is None else self._schema.get_type(condition.name.value)
                size = self._selection(node.selection_set, kind)
            elif isinstance(node, FragmentSpreadNode):
                size = self._fragment(node.name.value)
            else:
                continue
            depth = max(depth, size.depth)
            complexity += size.complexity
            aliases += size.aliases
        return Size(depth, complexity, aliases)

    def _fragment(self, name: str) -> Size:
        found = self._measured.get(name)
        if found is None:
            node = self._fragments[name]
            kind = self._schema.get_type(node.type_condition.name.value)
            found = self._measured[name] = self._selection(node.selection_set, kind)
        return found

    def _field(self, node: FieldNode, parent: Any) -> Size:
        alias = 1 if node.alias is not None else 0
        name = node.name.value
        if name.startswith("__"):
            return Size(0, 0, alias)
        fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
        field = fields.get(name)
        own: int = 1 if field is None else (field.extensions or {}).get("complexity", 1)
        if node.selection_set is None:
            return Size(1, own, alias)
        inner = self._selection(node.selection_set, None if field is None else get_named_type(field.type))
        return Size(inner.depth + 1, own + self._items(node) * inner.complexity, inner.aliases + alias)

    def _items(self, node: FieldNode) -> int:
        """Return how many items a field is asked for, 1 where it does not say."""
        for argument in node.arguments or ():
            if argument.name.value in COUNTS:
                value: Any = argument.value
                count: Any = None
                if isinstance(value, IntValueNode):
                    count = int(value.value)
                elif isinstance(value, VariableNode):
                    self.looks_at_variables = True
                    count = self._variables.get(value.name.value)
                if isinstance(count, int):
                    return min(max(count, 1), MOST_ITEMS)
        return 1


def check(size: Size, config: GraphQLConfig) -> list[GraphQLError]:
    """Return what is too much."""
    found = []
    for what, value, most in (
        ("depth", size.depth, config.max_depth),
        ("complexity", size.complexity, config.max_complexity),
        ("number of aliases", size.aliases, config.max_aliases),
    ):
        if value > most:
            found.append(
                GraphQLError(
                    f"The {what} of this query is {value}, more than {most}.", extensions={"code": "TOO_COMPLEX"}
                )
            )
    return found
