"""Trusted hosts: requests for other names are refused, and http is sent on to https."""

import pytest

from cello import App, ConfigError


def make_app(coloured, hosts=("example.com", "*.shop.example", "[::1]", "127.0.0.1"), **options):
    app = App()
    app.enable_trusted_hosts(list(hosts), **options)
    app.get("/")(coloured(lambda: "hello"))
    app.get("/a b/{x}")(coloured(lambda: "hello"))
    app.post("/")(coloured(lambda: "posted"))
    app.get("/health")(coloured(lambda: "ok"))
    return app


HOSTS = {
    "a name": ("example.com", True),
    "in capitals": ("EXAMPLE.com", True),
    "with a port": ("example.com:8000", True),
    "with the dot of the root": ("example.com.", True),
    "another name": ("evil.example", False),
    "a longer name": ("example.com.evil.example", False),
    "a prefixed name": ("notexample.com", False),
    "a subdomain that is not listed": ("www.example.com", False),
    "a subdomain": ("a.shop.example", True),
    "a deeper subdomain": ("a.b.shop.example:80", True),
    "the domain of the subdomains": ("shop.example", False),
    "a name that ends alike": ("evilshop.example", False),
    "an address": ("127.0.0.1:8000", True),
    "an ipv6 address": ("[::1]:8000", True),
    "another ipv6 address": ("[::2]", False),
    "a port in words": ("example.com:http", False),
    "a path": ("example.com/evil", False),
    "a user": ("example.com@evil.example", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("host", "served"), HOSTS.values(), ids=HOSTS.keys())
def test_a_host_is_served_or_not(client, host, served):
    with client(make_app(lambda handler: handler), "asgi") as opened:
        assert (opened.get("/", headers={"Host": host}).status == 200) is served


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/nowhere", 404)], ids=["a route", "no route"])
def test_it_is_the_same_everywhere(serve, coloured, path, status):
    with serve(make_app(coloured)) as client:
        assert client.get(path, headers={"Host": "example.com"}).status == status
        refused = client.get(path, headers={"Host": "evil.example"})
        assert refused.status == 400
        assert refused.json()["detail"] == "This host is not served here."
        assert client.put("/", headers={"Host": "evil.example"}).status == 400


def test_excluded_paths_answer_under_any_host_and_scheme(serve):
    with serve(make_app(lambda handler: handler, https_redirect=True, exclude_paths=["/health"])) as client:
        assert client.get("/health", headers={"Host": "10.1.2.3:8000"}).status == 200


def test_a_mounted_application_is_behind_the_check_too(serve):
    def other(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"mounted"]

    app = make_app(lambda handler: handler)
    app.mount("/old", other, interface="wsgi")
    with serve(app) as client:
        assert client.get("/old", headers={"Host": "example.com"}).text == "mounted"
        assert client.get("/old", headers={"Host": "evil.example"}).status == 400


REDIRECTS = {
    "the root": ("/", {}, "https://example.com/"),
    "with a query": ("/?a=1&b=%20", {}, "https://example.com/?a=1&b=%20"),
    "an encoded path": ("/a%20b/%2F", {}, "https://example.com/a%20b/%2F"),
    "no route": ("/nowhere", {}, "https://example.com/nowhere"),
    "another port": ("/", {"https_port": 8443}, "https://example.com:8443/"),
    "the usual port": ("/", {"https_port": 443}, "https://example.com/"),
}


@pytest.mark.parametrize(("path", "options", "location"), REDIRECTS.values(), ids=REDIRECTS.keys())
def test_http_is_sent_on_to_https(serve, coloured, path, options, location):
    with serve(make_app(coloured, https_redirect=True, **options)) as client:
        answer = client.get(path, headers={"Host": "example.com:8000"}, follow_redirects=False)
        assert (answer.status, answer.headers["location"]) == (308, location)
        assert client.get(path, headers={"Host": "evil.example"}, follow_redirects=False).status == 400


def test_https_is_answered(serve, coloured):
    app = make_app(coloured, https_redirect=True)
    app.set_trusted_proxies(["127.0.0.1", "unix"])
    with serve(app) as client:
        answer = client.get("/", headers={"Host": "example.com", "X-Forwarded-Proto": "https"})
    assert answer.text == "hello"


def test_a_trusted_proxy_may_speak_for_the_scheme_and_the_host(client):
    app = make_app(lambda handler: handler, https_redirect=True)
    app.set_trusted_proxies(["127.0.0.1"], host=True)
    sent = {"Host": "backend:8000", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.com"}
    with client(app, "asgi") as opened:
        assert opened.get("/", headers=sent).text == "hello"
        assert opened.get("/", headers={**sent, "X-Forwarded-Host": "evil.example"}).status == 400


def test_international_names_are_written_either_way(client):
    with client(make_app(lambda handler: handler, hosts=["müller.example"]), "asgi") as opened:
        assert opened.get("/", headers={"Host": "xn--mller-kva.example"}).status == 200


REFUSED = {
    "none": ([], {}, "list of names"),
    "a str": ("example.com", {}, "list of names"),
    "a url": (["https://example.com"], {}, "without scheme"),
    "a port": (["example.com:80"], {}, "without scheme, port"),
    "a path": (["example.com/a"], {}, "without scheme"),
    "all": (["*"], {}, "is not a host"),
    "a star inside": (["a.*.com"], {}, "is not a host"),
    "a number": ([1], {}, "is not a host"),
    "a name too long to encode": (["ü" * 70], {}, "is not a host"),
    "no port": (["example.com"], {"https_port": 0}, "https_port is a port"),
    "a str of paths": (["example.com"], {"exclude_paths": "/health"}, "list of paths"),
}


@pytest.mark.parametrize(("hosts", "options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(hosts, options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_trusted_hosts(hosts, **options)
