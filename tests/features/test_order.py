"""The switches together: thrown in any order they give the same chain, and each only once and in time."""

import inspect
import re
from pathlib import Path
from random import Random

import pytest

from cello import App, ConfigError, JwtConfig, MissingDependency, RateLimitConfig, StaticFilesConfig

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"

ARGUMENTS: dict[str, tuple[object, ...]] = {
    "enable_api_key": (["a key"],),
    "enable_basic_auth": ({"ann": "a password"},),
    "enable_cors": (["https://a.example"],),
    "enable_rate_limit": (RateLimitConfig.token_bucket(100, 60),),
    "enable_jwt": (JwtConfig("a secret that nobody could ever guess"),),
    "enable_static_files": (StaticFilesConfig(Path(__file__).parent),),
    "enable_templates": (None,),
    "enable_trusted_hosts": (["a.example"],),
    "set_trusted_proxies": (["127.0.0.1"],),
}
"""What the switches are given that cannot be thrown without arguments, or should not be in a test."""

SWITCHES = [*sorted(name for name in dir(App) if name.startswith("enable_")), "set_trusted_proxies"]

TOGETHER = [
    *("enable_cors", "enable_logging", "enable_request_id", "enable_compression", "enable_security_headers"),
    *("enable_trusted_hosts", "set_trusted_proxies", "enable_templates"),
]
"""Those whose chain is written out below."""


def throw(app, switch):
    """Throw a switch, or skip the test where a library is not installed."""
    try:
        getattr(app, switch)(*arguments_of(switch))
    except MissingDependency as error:
        pytest.skip(str(error))


def arguments_of(switch):
    """Return what a switch of any kind can be thrown with."""
    if switch in ARGUMENTS:
        return ARGUMENTS[switch]
    needed = [
        parameter.name
        for parameter in inspect.signature(getattr(App(), switch)).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    assert not needed, f"ARGUMENTS lacks {switch}, which wants {needed}"
    return ()


def chain(order, path="/"):
    app = App()
    for switch in order:
        throw(app, switch)
    app.get("/")(lambda: "hello")
    return app.explain(path).split("\n", 1)[1].split("\n")


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_the_chain_does_not_depend_on_the_order_of_the_calls(path):
    expected = chain(SWITCHES, path)
    random = Random(1)
    orders = [SWITCHES[::-1], *(random.sample(SWITCHES, len(SWITCHES)) for _ in range(6))]
    for order in orders:
        assert chain(order, path) == expected


def test_the_chain_is_the_one_that_the_bands_say():
    steps = [" ".join(line.split()) for line in chain(TOGETHER)[1:]]
    assert [step for step in steps if "before" in step] == [
        "5 before TrustedProxies.before",
        "10 before AccessLog.before",
        "12 before RequestIds.before",
        "12 before Templates.before",
        "15 before Cors.before",
        "22 before TrustedHosts.before",
        "25 before Decompression.before",
    ]
    assert [step for step in steps if "after" in step] == [
        "45 after Compression.after",
        "17 after SecurityHeaders.after",
        "15 after Cors.after",
        "12 after RequestIds.after",
        "10 after AccessLog.after",
    ]


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_is_thrown_once(switch):
    app = App()
    throw(app, switch)
    with pytest.raises(ConfigError, match=rf"{switch}\(\) was called already"):
        throw(app, switch)


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_is_thrown_before_the_first_request(switch):
    app = App()
    app.freeze()
    with pytest.raises(ConfigError, match=rf"{switch}\(\) comes too late"):
        throw(app, switch)


@pytest.mark.parametrize("switch", [switch for switch in SWITCHES if switch != "enable_static_files"])
def test_a_switch_is_found_by_its_name(switch):
    app = App()
    name = {"enable_messaging": "kafka"}.get(switch, switch.removeprefix("enable_").removeprefix("set_"))
    assert app.feature(name) is None
    throw(app, switch)
    assert app.feature(name).name == name


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_has_a_page_in_the_guide(switch):
    pages = [page.read_text("utf-8") for page in GUIDE.glob("*.md")]
    assert any(re.search(rf"```python\n(?:(?!```).)*\b{switch}\(", page, re.DOTALL) for page in pages)


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_says_what_it_does(switch):
    assert getattr(App, switch).__doc__


def test_all_together_answer_well(serve, coloured):
    app = App()
    for switch in TOGETHER:
        throw(app, switch)
    app.get("/")(coloured(lambda: "hello " * 1000))
    sent = {"Host": "a.example", "Origin": "https://a.example", "Accept-Encoding": "gzip", "X-Request-ID": "one"}
    with serve(app) as client:
        answer = client.get("/", headers=sent)
        refused = client.get("/", headers={**sent, "Host": "b.example"})
    assert answer.status == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding, Origin"
    assert refused.status == 400
    for head in (answer.headers, refused.headers):
        assert head["x-request-id"] == "one"
        assert head["x-frame-options"] == "DENY"
        assert head["access-control-allow-origin"] == "https://a.example"
