"""The options of a server: who said what, and what follows from it."""

import argparse
import dataclasses

import pytest

from cello.errors import ConfigError
from cello.serve import options
from cello.serve.cluster import ClusterConfig
from cello.serve.options import OPTIONS, RunOptions, read_arguments, resolve
from cello.serve.tls import TlsConfig

# For every option: a value for the command line (as words), one for its variable, one for run(), and what each means.
SAID = {
    "host": (["--host", "10.0.0.1"], "10.0.0.2", "10.0.0.3", ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
    "port": (["--port", "1"], "2", 3, (1, 2, 3)),
    "uds": (["--uds", "/a"], "/b", "/c", ("/a", "/b", "/c")),
    "fd": (["--fd", "1"], "2", 3, (1, 2, 3)),
    "env": (["--env", "production"], "production", "production", ("production",) * 3),
    "debug": (["--no-debug"], "0", False, (False,) * 3),
    "workers": (["--workers", "2"], "3", 4, (2, 3, 4)),
    "reload": (["--reload"], "yes", True, (True,) * 3),
    "reload_dir": (["--reload-dir", "a", "--reload-dir", "b"], "c, d", ["e"], (("a", "b"), ("c", "d"), ("e",))),
    "logs": (["--no-logs"], "off", False, (False,) * 3),
    "log_format": (["--log-format", "json"], "json", "json", ("json",) * 3),
    "certfile": (["--certfile", "a"], "b", "c", ("a", "b", "c")),
    "keyfile": (["--keyfile", "a"], "b", "c", ("a", "b", "c")),
    "ca_file": (["--ca-file", "a"], "b", "c", ("a", "b", "c")),
    "proxy_protocol": (["--proxy-protocol"], "1", True, (True,) * 3),
    "cpu_affinity": (["--cpu-affinity"], "1", True, (True,) * 3),
    "max_requests": (["--max-requests", "1"], "2", 3, (1, 2, 3)),
    "max_requests_jitter": (["--max-requests-jitter", "1"], "2", 3, (1, 2, 3)),
    "max_rss_mb": (["--max-rss-mb", "1"], "2", 3, (1, 2, 3)),
    "max_restarts": (["--max-restarts", "1"], "2", 3, (1, 2, 3)),
    "worker_timeout": (["--worker-timeout", "1.5"], "2.5", 3, (1.5, 2.5, 3)),
    "graceful_shutdown": (["--no-graceful-shutdown"], "0", False, (False,) * 3),
    "pid_file": (["--pid-file", "a"], "b", "c", ("a", "b", "c")),
    "shutdown_timeout": (["--shutdown-timeout", "1.5"], "2.5", 3, (1.5, 2.5, 3)),
    "loop": (["--loop", "asyncio"], "uvloop", "asyncio", ("asyncio", "uvloop", "asyncio")),
    "http": (["--http", "h11"], "httptools", "compiled", ("h11", "httptools", "compiled")),
    "name": (["--name", "a"], "b", "c", ("a", "b", "c")),
}
# keyfile and ca_file mean nothing without a certificate.
TLS = TlsConfig("cert.pem", "key.pem")


def test_every_option_has_a_row_in_the_table_of_this_test():
    assert set(SAID) == {option.name for option in OPTIONS}


@pytest.mark.parametrize("name", SAID)
def test_the_command_line_goes_before_the_environment_before_run_before_the_default(name):
    words, text, given, (by_flag, by_variable, by_run) = SAID[name]
    beside = {"max_requests": 100} if name == "max_requests_jitter" else {}  # means nothing alone
    default = next(option.default for option in OPTIONS if option.name == name)
    variable = f"CELLO_{name.upper()}"
    arguments = read_arguments(words)
    steps = [
        (
            resolve({**beside, name: given}, arguments=arguments, environment={variable: text}, tls=TLS),
            by_flag,
            words[0],
        ),
        (resolve({**beside, name: given}, environment={variable: text}, tls=TLS), by_variable, variable),
        (resolve({**beside, name: given}, environment={variable: ""}, tls=TLS), by_run, f"app.run({name}=…)"),
    ]
    for found, value, origin in steps:
        assert getattr(found, name) == value
        assert found.origins[name] == origin.replace("--no-", "--")
    if default is not None:
        assert getattr(resolve({name: None}, tls=TLS), name) == default


def test_the_defaults_are_those_of_the_reference_page():
    found = resolve()
    assert (found.host, found.port, found.env, found.reload) == ("127.0.0.1", 8000, "development", False)
    assert (found.debug, found.workers, found.logs) == (True, 1, True)


@pytest.mark.parametrize(
    ("given", "debug", "workers", "logs"),
    [
        pytest.param({}, True, 1, True, id="development"),
        pytest.param({"env": "production"}, False, 6, False, id="production"),
        pytest.param({"env": "production", "debug": True}, True, 1, True, id="production being debugged"),
        pytest.param({"env": "production", "workers": 2}, False, 2, False, id="production with workers given"),
        pytest.param({"env": "production", "logs": True}, False, 6, True, id="production with logs"),
        pytest.param({"env": "production", "reload": True}, False, 1, False, id="production with reload"),
        pytest.param({"debug": False}, False, 1, False, id="development without debug"),
        pytest.param({"logs": False}, True, 1, False, id="development without logs"),
    ],
)
def test_what_nobody_said_follows_from_the_rest(given, debug, workers, logs):
    found = resolve(given, cpus=lambda: 6)
    assert (found.debug, found.workers, found.logs) == (debug, workers, logs)


def test_a_port_set_by_kubernetes_is_ignored_and_said():
    found = resolve({"port": 9000}, environment={"CELLO_PORT": "tcp://10.0.0.1:80"})
    assert found.port == 9000
    assert "CELLO_PORT=tcp://10.0.0.1:80" in found.notices[0]


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        pytest.param({"prot": 1}, {}, "no option 'prot'; did you mean 'port'?", id="misspelt name"),
        pytest.param({"quux": 1}, {}, "no option 'quux'; it has: host, port", id="unknown name"),
        pytest.param(
            {"port": "80"}, {}, r"port must be a whole number, not '80' \(app.run\(port=…\)\)", id="text port"
        ),
        pytest.param({"port": True}, {}, "port must be a whole number", id="bool is no number"),
        pytest.param({"port": 70000}, {}, "port must be at most 65535, not 70000", id="port too high"),
        pytest.param({"port": -1}, {}, "port must be at least 0", id="port too low"),
        pytest.param(
            {}, {"CELLO_PORT": "http"}, "CELLO_PORT must be a whole number, not 'http'", id="variable no number"
        ),
        pytest.param(
            {}, {"CELLO_PORT": "99999"}, r"at most 65535, not 99999 \(CELLO_PORT\)", id="variable out of range"
        ),
        pytest.param({}, {"CELLO_RELOAD": "maybe"}, "CELLO_RELOAD must be 1 or 0", id="variable no bool"),
        pytest.param({"env": "staging"}, {}, "env must be development or production, not 'staging'", id="env"),
        pytest.param({"workers": 0}, {}, "workers must be at least 1", id="no workers"),
        pytest.param({"debug": 1}, {}, "debug must be True or False", id="debug as a number"),
        pytest.param({"uds": "/a", "fd": 3}, {}, "either on app.run.uds=…. or on app.run.fd=…., not on both", id="two"),
        pytest.param({"uds": "/a\0b"}, {}, "uds must not contain a NUL", id="NUL in path"),
        pytest.param({"keyfile": "k"}, {}, r"app.run\(keyfile=…\) needs a certificate", id="key alone"),
        pytest.param({"tls": "cert.pem"}, {}, "must be a TlsConfig, not 'cert.pem'", id="tls as text"),
        pytest.param({"shutdown_timeout": float("nan")}, {}, "shutdown_timeout must be at least 0", id="not a number"),
    ],
)
def test_an_impossible_option_is_refused_in_plain_words(given, environment, words):
    with pytest.raises(ConfigError, match=words):
        resolve(given, environment=environment)


@pytest.mark.parametrize(
    ("given", "app_tls", "expected"),
    [
        pytest.param({}, None, None, id="none"),
        pytest.param({"certfile": "c"}, None, TlsConfig("c", "c"), id="one file for both"),
        pytest.param({"certfile": "c", "keyfile": "k"}, None, TlsConfig("c", "k"), id="two files"),
        pytest.param({}, TLS, TLS, id="of the app"),
        pytest.param({"tls": TlsConfig("x", "y")}, TLS, TlsConfig("x", "y"), id="run goes before the app"),
        pytest.param({"certfile": "c", "keyfile": "k"}, TLS, TlsConfig("c", "k"), id="files go before the app"),
        pytest.param({"keyfile": "k"}, TLS, TlsConfig("cert.pem", "k"), id="another key"),
        pytest.param({"ca_file": "ca"}, TLS, TlsConfig("cert.pem", "key.pem", "ca"), id="an authority added"),
    ],
)
def test_certificate_files_and_tls_configs_become_one(given, app_tls, expected):
    assert resolve(given, tls=app_tls).tls == expected


def test_a_programs_own_arguments_are_left_alone():
    argv = ["import", "--verbose", "--port", "81", "-x", "3", "--portfolio", "a", "--", "--port", "82"]
    assert read_arguments(argv) == {"port": 81}
    assert read_arguments(["--help", "--por", "3"]) == {}


def test_a_malformed_flag_of_ours_ends_the_program_with_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        read_arguments(["--port", "http"])
    assert "--port" in capsys.readouterr().err


def test_flags_that_were_not_said_are_absent():
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    assert vars(parser.parse_args([])) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, False), ({"workers": 2}, True), ({"reload": True}, True), ({"max_requests": 5}, True)],
    ids=["plain", "workers", "reload", "max_requests"],
)
def test_a_supervisor_is_used_only_where_it_is_needed(given, expected):
    assert resolve(given).is_supervised is expected


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        resolve().port = 1  # type: ignore[misc]
    assert isinstance(resolve(), RunOptions)


def test_brackets_around_an_ipv6_host_are_dropped():
    assert resolve({"host": "[::1]"}).host == "::1"


def test_every_field_of_a_cluster_config_stands_behind_its_option_and_asks_for_a_supervisor():
    cluster = ClusterConfig(workers=3, cpu_affinity=True, max_restarts=7, graceful_shutdown=False, shutdown_timeout=4.0)
    found = resolve({}, cluster=cluster)
    for each in dataclasses.fields(cluster):
        assert getattr(found, each.name) == getattr(cluster, each.name)
        assert found.origins[each.name] == f"ClusterConfig.{each.name}"
    assert resolve({"workers": 2}, cluster=cluster).workers == 2
    assert resolve({"cluster": ClusterConfig(workers=5)}, cluster=cluster).workers == 5
    assert resolve({}, cluster=ClusterConfig()).is_supervised
    assert resolve({"env": "production"}, cluster=ClusterConfig(), cpus=lambda: 6).workers == 6
    assert not resolve({}).is_supervised
    with pytest.raises(ConfigError, match="cluster=…\\) must be a ClusterConfig"):
        resolve({"cluster": {"workers": 3}})


def test_what_is_not_graceful_gets_no_time():
    assert resolve({"shutdown_timeout": 9}).drain_timeout_s == 9
    assert resolve({"shutdown_timeout": 9, "graceful_shutdown": False}).drain_timeout_s == 0


@pytest.mark.parametrize(
    ("given", "timeout_s", "jitter"),
    [
        ({"debug": True, "max_requests": 55}, 0, 5),
        ({"debug": False}, 60, 0),
        ({"debug": True, "worker_timeout": 3.0}, 3, 0),
        ({"max_requests": 55, "max_requests_jitter": 0, "debug": False}, 60, 0),
    ],
    ids=["debugging", "not debugging", "said", "no jitter"],
)
def test_what_nobody_says_about_workers_follows(given, timeout_s, jitter):
    found = resolve(given)
    assert (found.worker_timeout, found.max_requests_jitter) == (timeout_s, jitter)


def test_a_jitter_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"max_requests_jitter .* needs max_requests as well"):
        resolve({"max_requests_jitter": 5})
