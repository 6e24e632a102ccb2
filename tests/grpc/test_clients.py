"""Others' clients in another language: grpc-js with the exported `.proto`, and three that ask by reflection."""

import json
from pathlib import Path

import pytest

from tests import node
from tests.grpc import shop
from tests.grpc.conftest import running
from tests.serve.program import Program, free_port

HERE = Path(__file__).parent
PACKAGES = (
    *("@grpc/grpc-js@1", "@grpc/proto-loader@0.8", "@grpc/reflection@1", "@connectrpc/connect@2"),
    *("@connectrpc/connect-node@2", "@bufbuild/protobuf@2", "grpc-web@2", "xhr2@0.2"),
)
SERVICES = ["Guarded", "UserService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
SERVICES += ["grpc.reflection.v1alpha.ServerReflection", "shop.v1.Shop"]
SAID = {
    "get": {"id": 7, "name": "Ada"},
    "metadata": ["yes", "shop"],
    "untyped": {"id": 7, "name": "Ada", "nested": [1, 2.5, None, {"a": True}]},
    "add": {"value": 6},
    "missing": [5, "there is no such user", "id"],
    "broken": [13, "Internal Server Error", "id"],
    "guarded": [7, "Not for you.", "id"],
    "count": [0, 1],
    "cut": [0, 1, 2, 15, "no more"],
    "countdown": [2, 1],
}


@pytest.fixture(scope="module")
def modules():
    return node.node_modules("grpc", PACKAGES)


@pytest.mark.timeout(400)
def test_grpc_js_understands_the_exported_proto(site, modules, protos, tmp_path):
    said = json.loads(node.run_script(HERE / "native.mjs", modules, tmp_path, site.target, str(protos)))
    assert said == {
        "get": {"id": 7, "name": "nobody"},
        "plain": {"id": 7, "name": "plain"},
        "missing": [5, "there is no such user"],
        "broken": [13, "Internal Server Error"],
        "late": 4,
        "count": [None, 1],  # grpc-js leaves out what has its default
        "cut": [None, 1, 2, 15],
        "sum": {"id": 6, "name": "sum"},
        "echo": [4, 5],
    }


@pytest.fixture(params=["cello", "uvicorn"])
def hosted(request, tmp_path):
    if request.param == "cello":
        with running(tmp_path, "--workers", "1") as site:
            yield site.http, site.target
        return
    http, grpc = free_port(), free_port()
    words = ("-m", "uvicorn", "tests.grpc.shop:app", "--port", str(http))
    with Program(*words, folder=Path(shop.__file__).parents[2], environment={"GRPC_PORT": str(grpc)}) as program:
        program.wait_for("Uvicorn running")
        yield f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}"


@pytest.mark.timeout(400)
def test_clients_by_reflection_and_of_grpc_web_hear_the_same(hosted, modules, tmp_path):
    url, target = hosted
    said = json.loads(node.run_script(HERE / "web.mjs", modules, tmp_path, target, url))
    for side in ("native", "web"):
        assert said[side].pop("late")[0] == 4  # by whichever clock ran out first
    assert said["services"] == {"v1": SERVICES, "v1alpha": SERVICES}
    assert said["native"] == {**SAID, "bare": [12, "Method not found!", "-"]}
    assert said["web"] == {**SAID, "bare": [12, "Nothing answers this method.", "id"]}
    web = {"get": {"id": 7, "name": "Bob"}, "missing": [5, "there is no such user"]}
    assert said["grpc-web binary"] == web
    assert said["grpc-web text"] == {**web, "count": [0, 1, 2, 15]}
