"""From a target such as "module:app" to the App."""

import sys

import pytest

from cello.serve.importing import TargetError, load_app
from cello.serve.served import Served, importing, is_importing

APP = """
class App:
    run_options = lifecycle = settings = None
    urls, debug, env, name, role = [], False, "development", "shop", "server"

    def feature(self, name): ...
    def enable_logging(self, format): ...
    def freeze(self): ...
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__slash__", "/", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(content)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "content", "target"),
    [
        pytest.param("shop", "app = App()", "shop:app", id="module and name"),
        pytest.param("shop", "app = App()", "shop", id="module alone, favourite name"),
        pytest.param("shop", "application = App()", "shop", id="module alone, second favourite"),
        pytest.param("shop", "web = App()", "shop", id="module alone, only one"),
        pytest.param("shop", "web = api = App()", "shop", id="module alone, one under two names"),
        pytest.param("shop", "class Box: pass\nbox = Box()\nbox.app = App()", "shop:box.app", id="nested name"),
        pytest.param("shop", "def make(): return App()", "shop:make()", id="factory"),
        pytest.param("shop", "app = App()", "shop.py", id="file"),
        pytest.param("shop", "other = App()\napp = App()", "./shop.py:app", id="file and name"),
        pytest.param("app", "app = App()", None, id="app.py found"),
        pytest.param("main", "app = App()", None, id="main.py found"),
        pytest.param("random", "app = App()", "random.py", id="file named like a standard module"),
        pytest.param("web__slash__shop", "app = App()", "web/shop.py", id="file in a folder"),
        pytest.param("web__slash__shop", "app = App()", "web.shop:app", id="module in a namespace package"),
    ],
)
def test_a_target_names_an_app(project, name, content, target):
    project(**{name: APP + content})
    assert isinstance(load_app(target), Served)


def test_app_py_goes_before_main_py(project):
    project(app=APP + "app = App(); app.which = 'app'", main=APP + "app = App(); app.which = 'main'")
    assert load_app().which == "app"


def test_a_file_of_a_package_is_imported_with_it(project):
    project(pack__slash____init__="", pack__slash__parts=APP, pack__slash__web="from .parts import App\napp = App()")
    assert isinstance(load_app("pack/web.py"), Served)
    assert "pack.web" in sys.modules


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        pytest.param("", "nope:app", "no module named 'nope' in /", id="no module"),
        pytest.param("", "shop.nope:app", "no module named 'shop.nope'", id="no submodule"),
        pytest.param("", "sub/nope.py", "no file 'sub/nope.py'", id="no file"),
        pytest.param("", "shop-1:app", "'shop-1' is not a module name", id="no module name"),
        pytest.param("", "shop:", "is not of the form module:app", id="empty name"),
        pytest.param("", ":app", "is not of the form module:app", id="empty module"),
        pytest.param("", ".", "not a module name", id="dot"),
        pytest.param("", "./", "is a folder; name the file", id="folder"),
        pytest.param("web = App()", "shop:app", "'shop' has no 'app'; Apps in it: web", id="no attribute"),
        pytest.param("", "shop:app", "'shop' has no 'app'; Apps in it: none", id="no attribute, no Apps"),
        pytest.param("app = 3", "shop:app", "shop:app is not a cello App but an int", id="not an App"),
        pytest.param("app = 3", "shop", "shop:app is not a cello App but an int", id="favourite is not an App"),
        pytest.param("x = 3", "shop", "'shop' has no App; it should contain: app = App()", id="no App at all"),
        pytest.param("a = App(); b = App()", "shop", "several Apps: a, b; choose one: shop:a", id="several"),
        pytest.param("def make(): pass", "shop:make", r"to call it for the App write 'shop:make\(\)'", id="factory"),
        pytest.param("def make(): pass", "shop:make()", "not a cello App but a NoneType", id="factory without App"),
        pytest.param("", None, "has no app.py or main.py; say which one: cello run module:app", id="nothing to find"),
    ],
)
def test_a_target_that_names_none_is_explained(project, content, target, words):
    project(shop=APP + content)
    with pytest.raises(TargetError, match=words):
        load_app(target)


def test_a_module_that_lacks_a_dependency_is_not_taken_for_missing(project):
    project(shop="import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_app("shop:app")


def test_a_file_that_stands_in_another_folder_is_hinted_at(project):
    project(app=APP)
    sys.path.insert(0, "/nonexistent")
    with pytest.raises(TargetError, match="no module named 'shop'"):
        load_app("shop.app:app")


def test_code_knows_that_cello_imports_it(project):
    project(shop=APP + "from cello.serve.served import is_importing\napp = App()\napp.seen = is_importing()")
    assert not is_importing()
    assert load_app("shop:app").seen
    assert not is_importing()
    with importing():
        assert is_importing()
