"""The files of the pages that other programs read: systemd's units, nginx's configuration, a Dockerfile, manifests.

Each is given to the program that it is for, where that is installed, with the paths of the page put elsewhere; and what
it says of the application (commands, ports, paths, times) is held against the application of the page.
"""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cello import App
from cello.cli import main, make_parser
from cello.serve.options import OPTIONS, RunOptions, resolve
from cello.testing import TestClient
from tests.docs.blocks import ROOT, Block, blocks, every_block
from tests.missing import missing
from tests.serve.conftest import make_certificate
from tests.serve.program import free_port

__all__ = ["make_certificate"]


def installed(program: str) -> str:
    """Return the path of a program; a missing one is a skip, or a failure where all must be there."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{program} is not installed")
    return path


def run_options(words: list[str]) -> RunOptions:
    """Return what holds after a command line `… cello run …`; refuse what `cello` does not take."""
    begin = next(number for number, word in enumerate(words) if Path(word).name == "cello")
    given = vars(make_parser().parse_args(words[begin + 1 :]))
    return resolve({}, arguments={one.name: given[one.name] for one in OPTIONS if one.name in given}, environment={})


def ids(block: Block) -> str:
    return str(block)


# systemd

UNITS = every_block("ini")


def unit(block: Block) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(block.text)
    return parser


@pytest.mark.parametrize("block", UNITS, ids=ids)
def test_systemd_takes_a_unit(block: Block, tmp_path: Path) -> None:
    """Beside it a service of the page, as a socket is nothing without one, with programs that are here."""
    analyze = installed("systemd-analyze")
    (service,) = (one for one in UNITS if one.page == block.page and "[Service]" in one.text)
    here = re.sub(
        r"^ExecStart=/srv/\w+/.venv/bin/cello", f"ExecStart={sys.executable} -m cello", service.text, flags=re.M
    )
    (tmp_path / "shop.service").write_text(here)
    name = "shop.service" if block == service else "shop.socket"
    if block != service:
        (tmp_path / name).write_text(block.text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / name)], capture_output=True, text=True, timeout=50, check=False
    )
    faults = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "shop." in line]
    assert (done.returncode, faults) == (0, [])


@pytest.mark.parametrize("block", [one for one in UNITS if "[Service]" in one.text], ids=ids)
def test_a_service_gives_the_server_time_to_drain(block: Block) -> None:
    service = unit(block)["Service"]
    options = run_options(shlex.split(service["ExecStart"]))
    assert options.env == "production"
    assert float(service["TimeoutStopSec"]) > options.shutdown_timeout
    assert service["Type"] == "notify"
    if options.uds:
        assert options.uds.startswith(f"/run/{service['RuntimeDirectory']}/")


# nginx


@pytest.mark.parametrize("block", every_block("nginx"), ids=ids)
def test_nginx_takes_its_configuration(block: Block, tmp_path: Path, make_certificate: Any) -> None:
    nginx = installed("nginx")
    certificate, key = make_certificate(tmp_path, "shop")
    text = (
        block.text.replace("/etc/ssl/shop.pem", str(certificate))
        .replace("/etc/ssl/shop.key", str(key))
        .replace("listen 443", f"listen 127.0.0.1:{free_port()}")
    )
    if not re.search(r"^server ", text, re.MULTILINE):
        text = f"server {{ listen 127.0.0.1:{free_port()}; {text} }}"
    temporary = " ".join(
        f"{kind}_temp_path {tmp_path};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{text} }}\n"
    )
    done = subprocess.run(
        [nginx, "-t", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", "stderr"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\[(warn|error|emerg)\]", done.stderr), done.stderr


def test_nginx_asks_where_the_service_listens() -> None:
    page = list(blocks(ROOT / "docs/guide/deployment.md"))
    (service,) = (one for one in page if "[Service]" in one.text)
    (nginx,) = (one for one in page if one.language == "nginx")
    uds = run_options(shlex.split(unit(service)["Service"]["ExecStart"])).uds
    assert f"server unix:{uds};" in nginx.text


# Containers


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `cello new` writes: the project that a Dockerfile is for."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "shop"]) == 0
    return tmp_path / "shop"


INSTRUCTIONS = {
    *("FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"),
}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            assert name in INSTRUCTIONS, f"{name}: say here what must hold of it"
            yield name, rest


def check_dockerfile(text: str, project: Path) -> RunOptions:
    """Walk through a Dockerfile as a build would; return what its container starts with."""
    stages: set[str] = set()
    users, exposed, options = {"root"}, 0, None
    made: set[str] = set()
    for name, rest in instructions(text):
        words = shlex.split(rest)
        if name == "FROM":
            assert re.fullmatch(r"python:3\.1[1-4]-slim", words[0])
            stages |= set(words[2:])
        elif name == "COPY":
            origin, sources = words[0], words[:-1]
            if origin.startswith("--from="):
                assert origin.removeprefix("--from=") in stages
                assert set(sources[1:]) <= made
            else:
                assert [source for source in sources if not (project / source).exists()] == []
        elif name == "RUN":
            for command in rest.split("&&"):
                typed = shlex.split(command)
                if typed[:1] == ["useradd"]:
                    users.add(typed[-1])
                elif typed[1:3] == ["-m", "venv"]:
                    made.add(typed[3])
                else:
                    assert typed[0] == "/venv/bin/pip"
                    assert "/venv" in made
                    assert typed[1:3] == ["install", "--no-cache-dir"]
                    assert typed[-1] == "."
        elif name == "USER":
            assert rest in users
        elif name == "EXPOSE":
            exposed = int(rest)
        elif name == "ENTRYPOINT":
            options = run_options(json.loads(rest))
    assert options is not None
    assert exposed == options.port
    assert options.host == "0.0.0.0"
    return options


@pytest.mark.parametrize("block", every_block("dockerfile"), ids=ids)
def test_a_dockerfile_builds_what_is_there(block: Block, project: Path) -> None:
    assert check_dockerfile(block.text, project).env == "production"


def test_so_does_the_one_of_a_new_project(project: Path) -> None:
    assert check_dockerfile((project / "Dockerfile").read_text(), project).env == "production"


def test_a_dockerfile_that_copies_what_is_not_there_is_found(project: Path) -> None:
    with pytest.raises(AssertionError, match=r"nothing\.py"):
        check_dockerfile("FROM python:3.12-slim\nCOPY nothing.py /srv/\n", project)


# YAML: manifests of Kubernetes, and what watches


def app_of(block: Block) -> App:
    """Return the application that a page's first block of Python makes."""
    first = next(one for one in blocks(ROOT / block.page) if one.info == "python")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(first.text, str(first), "exec"), names)
    app = names["app"]
    assert isinstance(app, App)
    return app


FIELDS = {
    *("apiVersion", "kind", "metadata", "name", "labels", "spec", "replicas", "selector", "matchLabels", "template"),
    *(
        "strategy",
        "rollingUpdate",
        "maxUnavailable",
        "maxSurge",
        "terminationGracePeriodSeconds",
        "containers",
        "image",
    ),
    *("args", "ports", "containerPort", "port", "targetPort", "resources", "requests", "limits", "cpu", "memory"),
    *("startupProbe", "readinessProbe", "livenessProbe", "httpGet", "path", "periodSeconds", "failureThreshold"),
    *("timeoutSeconds", "lifecycle", "preStop", "exec", "command", "app"),
}
"""Words of manifests, each found good in its place by kubernetes-validate over the schemas of Kubernetes 1.37."""


def fields(document: object) -> set[str]:
    """Return all keys of a document, at whichever depth."""
    if isinstance(document, list):
        return {key for one in document for key in fields(one)}
    if isinstance(document, dict):
        return set(document) | {key for one in document.values() for key in fields(one)}
    return set()


def check_pod(spec: dict[str, Any], block: Block) -> None:
    """Hold a pod against the application: its probes are answered, its port is served, its end is long enough."""
    assert fields(spec) <= FIELDS
    (container,) = spec["containers"]
    arguments = container["args"]
    if arguments[0] != "cello":  # the entry point of the page's image goes before
        dockerfile = next(one for one in blocks(ROOT / block.page) if one.language == "dockerfile")
        arguments = json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile.text, re.MULTILINE)[0]) + arguments
    options = run_options(arguments)
    ((port,),) = (list(one.values()) for one in container["ports"])
    assert port == options.port
    with TestClient(app_of(block)) as client:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == port
            assert client.get(asked["path"]).status == 200
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert spec["terminationGracePeriodSeconds"] > float(seconds) + options.shutdown_timeout


def check_deployment(manifest: dict[str, Any], block: Block) -> None:
    assert manifest["apiVersion"] == "apps/v1"
    assert fields(manifest) <= FIELDS
    template = manifest["spec"]["template"]
    assert manifest["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    check_pod(template["spec"], block)


def check_service(manifest: dict[str, Any], block: Block) -> None:
    """The service sends to a port that the deployment of the page has, under labels that it has."""
    assert fields(manifest) <= FIELDS
    deployment = next(one for one in yaml.safe_load_all(block.text) if one["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    assert manifest["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    open_ports = {port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in manifest["spec"]["ports"]} <= open_ports


def check_scraping(document: dict[str, Any], block: Block) -> None:
    """Prometheus' own tool takes it."""
    done = subprocess.run(
        [installed("promtool"), "check", "config", "--syntax-only", "/dev/stdin"],
        input=block.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_collector(document: dict[str, Any], block: Block) -> None:
    """Every part of a pipeline is defined, and none is defined in vain."""
    for part in ("receivers", "processors", "exporters"):
        used = {name for pipeline in document["service"]["pipelines"].values() for name in pipeline[part]}
        assert used == set(document[part])


KINDS: dict[str, Callable[[dict[str, Any], Block], None]] = {
    "Deployment": check_deployment,
    "Service": check_service,
    "containers": check_pod,
    "scrape_configs": check_scraping,
    "receivers": check_collector,
}


@pytest.mark.parametrize("block", every_block("yaml"), ids=ids)
def test_yaml_says_what_is_so(block: Block) -> None:
    documents = list(yaml.safe_load_all(block.text))
    assert documents
    for document in documents:
        kind = document.get("kind") or next(iter(document))
        assert kind in KINDS, f"{block}: say in KINDS how {kind!r} is checked"
        KINDS[kind](document, block)
