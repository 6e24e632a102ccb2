"""The tree of all routes: finds what a method and a path lead to, with backtracking.

This source is compiled a second time as `cello._speedups.tree`, typed by a `tree.pxd` there. So it defines the two
classes that are compiled and nothing else, and its loops are written for a C compiler as much as for a reader.

Rule 1: at each segment: static, then converters and mixed segments in their order, then plain, then wildcard.
Rule 2: an end that lacks the method counts as no match, so the search goes on: POST /users/me finds POST /users/{id}
where only GET /users/me exists.
Rule 3: a node stands at one depth only, so no search visits it twice: the routes bound the work, not the path.
"""

from importlib import import_module

from cello import _speedups
from cello.http.url import decode_segment
from cello.routing.pattern import MIXED, STATIC, WILDCARD, Matcher, Pattern, Segment


class Node:
    """One place in the tree: what may follow, and what ends here.

    Attributes:
        static: Children by their text.
        checks: Children that look at the text, as (kind, rank, key, match, child), in the order they are tried.
        plain: The child for any text but the empty one, or None.
        ends: Routes that end here, as method → (value, parameter names).
        rest: Routes whose wildcard takes all from here on, in the same form.
        forks: Whether anything but `static` may match here.
    """

    __slots__ = ("checks", "ends", "forks", "plain", "rest", "static")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.checks: list[tuple[int, int, str, Matcher, Node]] = []
        self.plain: Node | None = None
        self.ends: dict[str, tuple[object, tuple[str, ...]]] = {}
        self.rest: dict[str, tuple[object, tuple[str, ...]]] = {}
        self.forks = False


class Tree:
    """All routes. Adding is not safe while another thread searches; searching is safe from any number of threads.

    `segments` is always a percent-decoded path as `"/users/7".split("/")` gives it: the first item is the empty text
    before the first slash.

    Attributes:
        root: Where paths begin.
        static: A shortcut past the tree: raw path → `ends` of its node, for paths without parameters and in the one
            spelling that needs no decoding.
    """

    __slots__ = ("root", "static")

    def __init__(self) -> None:
        self.root = Node()
        self.static: dict[str, dict[str, tuple[object, tuple[str, ...]]]] = {}

    def add(self, method: str, pattern: Pattern, value: object) -> None:
        """Lead `method` and `pattern` to `value`, in place of what an equal pattern led to before."""
        node = self.root
        ends = node.ends
        for segment in pattern.segments:
            if segment.kind == WILDCARD:
                node.forks = True
                ends = node.rest
            else:
                node = self._child(node, segment)
                ends = node.ends
        ends[method] = (value, pattern.param_names)
        if pattern.is_static:
            self.static[pattern.build()] = ends

    def _child(self, node: Node, segment: Segment) -> Node:
        if segment.kind == STATIC:
            child = node.static.get(segment.key)
            if child is None:
                child = Node()
                node.static[segment.key] = child
            return child
        node.forks = True
        if segment.match is None:
            if node.plain is None:
                node.plain = Node()
            return node.plain
        place = 0
        for kind, rank, key, _, child in node.checks:
            if kind == segment.kind and key == segment.key:
                return child
            if kind < segment.kind or (kind == segment.kind and rank <= segment.rank):
                place += 1
        child = Node()
        node.checks.insert(place, (segment.kind, segment.rank, segment.key, segment.match, child))
        return child

    def find_raw(self, method: str, raw_path: str) -> tuple[object, dict[str, str]] | None:
        """Return the value and the parameters of the best match for a still percent-encoded path, or None.

        What has no leading slash, such as "*", leads nowhere.

        Raises:
            BadRequest: The path has a broken escape, or is not UTF-8 once decoded (RFC 3986 §2.1, RFC 3629 §3).
        """
        ends = self.static.get(raw_path)
        if ends is not None:
            end = ends.get(method)
            if end is not None:
                return end[0], {}
        segments = raw_path.split("/")
        if "%" in raw_path:
            for index in range(len(segments)):
                segments[index] = decode_segment(segments[index])
        if segments[0]:
            return None
        return self.find(method, segments)

    def find(self, method: str, segments: list[str]) -> tuple[object, dict[str, str]] | None:
        """Return the value and the parameters of the best match, or None."""
        values: list[str] = []
        end = self._walk(self.root, method, segments, 1, values)
        if end is None:
            return None
        names = end[1]
        params = {}
        for index in range(len(names)):
            params[names[index]] = values[index]
        return end[0], params

    def methods(self, segments: list[str]) -> set[str]:
        """Return every method that the path has, by any pattern; empty when the path is unknown."""
        found: set[str] = set()
        self._collect(self.root, segments, 1, found)
        return found

    def _walk(
        self, node: Node, method: str, segments: list[str], index: int, values: list[str]
    ) -> tuple[object, tuple[str, ...]] | None:
        """Return the end that the segments from `index` on lead to; leaves the parameters' values in `values`.

        Where nothing is found `values` may hold leftovers: whoever tries an alternative cuts them off.
        """
        count = len(segments)
        while index < count:
            segment = segments[index]
            index += 1
            # PERF: asking an empty dict would still hash the text: 30 ns for every parameter without static siblings.
            child = node.static.get(segment) if node.static else None
            if not node.forks:
                if child is None:
                    return None
                node = child
                continue
            held = len(values)
            if child is not None:
                end = self._walk(child, method, segments, index, values)
                if end is not None:
                    return end
                del values[held:]
            if segment:
                for kind, _, _, match, checked in node.checks:
                    found = match(segment)
                    if found is None:
                        continue
                    if kind == MIXED:
                        values.extend(found.groups())
                    else:
                        values.append(segment)
                    end = self._walk(checked, method, segments, index, values)
                    if end is not None:
                        return end
                    del values[held:]
                child = node.plain
                if child is not None:
                    values.append(segment)
                    if not node.rest:
                        node = child
                        continue
                    end = self._walk(child, method, segments, index, values)
                    if end is not None:
                        return end
                    del values[held:]
            end = node.rest.get(method)
            if end is not None:
                values.append("/".join(segments[index - 1 :]))
            return end
        return node.ends.get(method)

    def _collect(self, node: Node, segments: list[str], index: int, found: set[str]) -> None:
        if index == len(segments):
            found.update(node.ends)
            return
        segment = segments[index]
        child = node.static.get(segment)
        if child is not None:
            self._collect(child, segments, index + 1, found)
        if segment:
            for _, _, _, match, checked in node.checks:
                if match(segment) is not None:
                    self._collect(checked, segments, index + 1, found)
            if node.plain is not None:
                self._collect(node.plain, segments, index + 1, found)
        found.update(node.rest)


PureTree = Tree
if _speedups.enabled:
    # By way of the dict: a name that is a compiled class cannot be assigned to, and this source is compiled too.
    globals()["Tree"] = import_module("cello._speedups.tree").Tree
