"""The page of metrics says of each one what the code says: name, kind, labels. None is left out, none is made up."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guide" / "metrics.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
KINDS = ("counter", "gauge", "histogram")


def metrics_of(path):
    """Yield name, kind and labels of every metric that a module makes."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def literal(node):
        return ast.literal_eval(constants.get(node.id, node) if isinstance(node, ast.Name) else node)

    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called != "metric" or node.args[0].value not in KINDS or isinstance(node.args[1], ast.JoinedStr):
            continue  # those of requests are made of their names and the subsystem's; test_prometheus.py has them
        labels = (
            node.args[3] if len(node.args) > 3 else next((k.value for k in node.keywords if k.arg == "labels"), None)
        )
        yield literal(node.args[1]), node.args[0].value, () if labels is None else tuple(literal(labels))


def test_every_metric_is_on_the_page_as_it_is():
    made = {
        name: (kind, labels)
        for path in sorted((ROOT / "cello").rglob("*.py"))
        for name, kind, labels in metrics_of(path)
    }
    told = {
        name: (kind, tuple(re.findall(r"`([a-z_]+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text("utf-8"))
    }
    assert len(made) > 30
    assert told == made
