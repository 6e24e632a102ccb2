"""JSON Web Tokens: which are believed, and every way in which one is not."""

import json
import logging
import sys
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from cello import App, ConfigError, JwtConfig, MissingDependency
from cello.features.signing import encode

SECRET = "a secret of at least 32 bytes, as HS256 wants it" * 2
RSA = RSAKey.generate_key(2048)
RSA_PUBLIC = RSA.as_pem(private=False).decode()
pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # "EdDSA", when it signs here


class FromNow(int):
    """Seconds from when the token is signed, which may be long after a table of tests was made."""


def sign(claims=None, key=None, algorithm="HS256", header=None, **more):
    claims = {"sub": "ann", "exp": int(time.time()) + 600, **(claims or {}), **more}
    claims = {name: value for name, value in claims.items() if value is not ...}
    claims = {name: int(time.time()) + value if isinstance(value, FromNow) else value for name, value in claims.items()}
    key = key or OctKey.import_key(SECRET)
    return jwt.encode({"alg": algorithm, **(header or {})}, claims, key, algorithms=[algorithm])


def make_app(config, coloured=lambda handler: handler, **more):
    app = App()
    app.enable_jwt(config, **more)
    app.get("/")(coloured(lambda request: [request.context["user"]["sub"], request.context["jwt_claims"]["sub"]]))
    return app


def ask(client, token, **more):
    return client.get("/", headers={"Authorization": f"Bearer {token}", **more})


EC = {name: ECKey.generate_key(curve) for name, curve in (("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521"))}
ED = {"EdDSA": OKPKey.generate_key("Ed25519"), "Ed25519": OKPKey.generate_key("Ed25519")}
KINDS = {
    **{name: OctKey.import_key(SECRET) for name in ("HS256", "HS384", "HS512")},
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    **EC,
    **ED,
}


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_algorithm_is_checked(client, algorithm):
    key = KINDS[algorithm]
    secret = SECRET if algorithm.startswith("HS") else key.as_pem(private=False)
    opened = client(make_app(JwtConfig(secret=secret, algorithm=algorithm)))
    token = sign(key=key, algorithm=algorithm)
    assert ask(opened, token).json() == ["ann", "ann"]
    head, payload, signature = token.split(".")
    forged = encode(json.dumps({"sub": "eve", "exp": 9_999_999_999}).encode()).decode()
    for wrong in (f"{head}.{forged}.{signature}", f"{head}.{payload}.", f"{head}.{payload}.AAAA"):
        refused = ask(opened, wrong)
        assert refused.status == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]


def raw(header, claims, signature=b""):
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(encode(part).decode() for part in parts)


CLAIMS = {"sub": "eve", "exp": 9_999_999_999}


def confused():
    """A token that is signed with the public key as if it were a secret."""
    import hmac

    signed = ".".join(raw({"alg": "HS256", "typ": "JWT"}, CLAIMS).split(".")[:2]).encode()
    return f"{signed.decode()}.{encode(hmac.digest(RSA_PUBLIC.encode(), signed, 'sha256')).decode()}"


ATTACKS = {
    "no algorithm": raw({"alg": "none"}, CLAIMS),
    "no algorithm in other letters": raw({"alg": "nOnE"}, CLAIMS),
    "no alg": raw({"typ": "JWT"}, CLAIMS),
    "an alg that is none": raw({"alg": ["RS256"]}, CLAIMS),
    "the public key as a secret": confused(),
    "a key of its own": raw({"alg": "RS256", "jwk": {"kty": "oct", "k": "AAAA"}}, CLAIMS, b"x" * 256),
    "a key from its own url": raw({"alg": "RS256", "jku": "http://127.0.0.1:9/keys"}, CLAIMS, b"x" * 256),
    "another signer": sign(key=RSAKey.generate_key(2048), algorithm="RS256"),
    "a critical header": raw({"alg": "RS256", "crit": ["b64"], "b64": False}, CLAIMS, b"x" * 256),
    "a kid that is none": raw({"alg": "RS256", "kid": {"a": 1}}, CLAIMS, b"x" * 256),
    "an encrypted token": "a.b.c.d.e",
    "two parts": "a.b",
    "not base64": "!!!.???.***",
    "a header that is no object": f"{encode(b'[]').decode()}.{encode(b'{}').decode()}.AAAA",
    "nothing": "",
    "much": "a" * 13_000,
    "deep": encode(b"[" * 5000).decode() + ".e30.AAAA",
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
def test_attacks_fail(client, token):
    opened = client(make_app(JwtConfig(secret=RSA_PUBLIC, algorithm="RS256")))
    assert ask(opened, sign(key=RSA, algorithm="RS256")).status == 200
    assert ask(opened, token).status == 401


def test_a_token_of_another_family_is_refused_though_both_are_accepted(client):
    opened = client(make_app(JwtConfig(secret=RSA_PUBLIC, algorithm=["RS256", "PS256"])))
    assert ask(opened, confused()).status == 401
    assert ask(opened, sign(key=RSA, algorithm="PS256")).status == 200


TIMES = {
    "long expired": ({"exp": FromNow(-100)}, {}, "has expired"),
    "expired within the leeway": ({"exp": FromNow(-5)}, {"leeway": 60}, None),
    "expired beyond the leeway": ({"exp": FromNow(-100)}, {"leeway": 60}, "has expired"),
    "without an end": ({"exp": ...}, {}, "lacks the claim exp"),
    "without an end, which is allowed": ({"exp": ...}, {"require": []}, None),
    "an end that is none": ({"exp": "9999999999"}, {}, "exp is no time"),
    "an end that is true": ({"exp": True}, {}, "exp is no time"),
    "not yet valid": ({"nbf": FromNow(100)}, {}, "not valid yet"),
    "not yet valid but within the leeway": ({"nbf": FromNow(30)}, {"leeway": 60}, None),
    "a required claim": ({"tenant": "a"}, {"require": ["exp", "tenant"]}, None),
    "a required claim is missing": ({}, {"require": ["exp", "tenant"]}, "lacks the claim tenant"),
    "the issuer": ({"iss": "https://a.example"}, {"issuer": "https://a.example"}, None),
    "another issuer": ({"iss": "https://b.example"}, {"issuer": "https://a.example"}, "another issuer"),
    "no issuer": ({}, {"issuer": "https://a.example"}, "another issuer"),
    "the audience": ({"aud": "api"}, {"audience": "api"}, None),
    "one of several audiences": ({"aud": ["x", "api"]}, {"audience": ["api", "web"]}, None),
    "another audience": ({"aud": "web"}, {"audience": "api"}, "another audience"),
    "no audience": ({}, {"audience": "api"}, "another audience"),
    "an audience that is not asked for": ({"aud": "api"}, {}, "another audience"),
    "an audience that is none": ({"aud": [5, {}]}, {"audience": "api"}, "another audience"),
}


@pytest.mark.parametrize(("claims", "fields", "words"), TIMES.values(), ids=TIMES.keys())
def test_claims_are_judged(serve, coloured, claims, fields, words):
    with serve(make_app(JwtConfig(secret=SECRET, **fields), coloured)) as client:
        answer = ask(client, sign(claims))
    assert answer.status == (200 if words is None else 401)
    if words is not None:
        assert words in answer.json()["detail"]
        assert words in answer.headers["www-authenticate"]


def test_a_token_is_found_in_header_or_cookie(serve, coloured):
    token = sign()
    with serve(make_app(JwtConfig(secret=SECRET, cookie_name="jwt"), coloured)) as client:
        assert client.get("/", headers={"Authorization": f"bearer {token}"}).status == 200
        assert client.get("/", headers={"Cookie": f"jwt={token}"}).status == 200
        assert client.get("/", headers={"Authorization": f"Bearer {token}", "Cookie": "jwt=x"}).status == 200
        assert client.get("/", headers={"Authorization": token}).status == 401
        assert client.get("/", headers={"Authorization": "Bearer x", "Cookie": f"jwt={token}"}).status == 401
    with serve(make_app(JwtConfig(secret=SECRET, header_name="X-Token"), coloured)) as client:
        assert client.get("/", headers={"X-Token": token}).status == 200
        assert client.get("/", headers={"X-Token": f"Bearer {token}"}).status == 200
        assert client.get("/", headers={"Authorization": f"Bearer {token}"}).status == 401


def test_secrets_can_be_rotated(client):
    old, new = OctKey.import_key("old " * 8), OctKey.import_key("new " * 8)
    opened = client(make_app(JwtConfig(secret=["new " * 8, "old " * 8])))
    assert ask(opened, sign(key=old)).status == ask(opened, sign(key=new)).status == 200
    assert ask(opened, sign(key=OctKey.import_key("other " * 8))).status == 401


def test_tokens_of_our_own_are_believed(client):
    config = JwtConfig(secret=SECRET, issuer="me", audience="api")
    app = make_app(config)
    token = app.feature("jwt").issue({"sub": "ann", "roles": ["admin"]}, expires_in=60)
    assert jwt.decode(token, OctKey.import_key(SECRET)).claims["iss"] == "me"
    assert ask(client(app), token).status == 200
    with pytest.raises(ConfigError, match=r"issue\(\) signs with a secret"):
        make_app(JwtConfig(secret=RSA_PUBLIC, algorithm="RS256")).feature("jwt").issue({})


REFUSED = {
    "no config": (lambda: "secret", "takes a JwtConfig, not a str"),
    "an unknown field": (lambda: JwtConfig(secret=SECRET, key="a"), "no field 'key'"),
    "no secret": (JwtConfig, "JwtConfig.secret must be text"),
    "an empty secret": (lambda: JwtConfig(secret=""), "JwtConfig.secret must be text"),
    "no secrets": (lambda: JwtConfig(secret=[]), "JwtConfig.secret is an empty list"),
    "none": (lambda: JwtConfig(secret=SECRET, algorithm="none"), "JwtConfig.algorithm must be of .* not 'none'"),
    "an unknown algorithm": (lambda: JwtConfig(secret=SECRET, algorithm="HS128"), "JwtConfig.algorithm"),
    "no algorithms": (lambda: JwtConfig(secret=SECRET, algorithm=[]), "JwtConfig.algorithm names none"),
    "a number": (lambda: JwtConfig(secret=SECRET, algorithm=256), "JwtConfig.algorithm must be text"),
    "a public key as a secret": (lambda: JwtConfig(secret=RSA_PUBLIC), "JwtConfig.secret: .* what is public"),
    "a secret as a public key": (lambda: JwtConfig(secret=SECRET, algorithm="RS256"), "JwtConfig.secret: .* in PEM"),
    "a key of another type": (lambda: JwtConfig(secret=RSA_PUBLIC, algorithm="ES256"), "JwtConfig.secret: .* type EC"),
    "families together": (lambda: JwtConfig(secret=RSA_PUBLIC, algorithm=["RS256", "HS256"]), "JwtConfig.secret"),
    "no header": (lambda: JwtConfig(secret=SECRET, header_name="a b"), "JwtConfig.header_name"),
    "no cookie": (lambda: JwtConfig(secret=SECRET, cookie_name="a b"), "JwtConfig.cookie_name"),
    "leeway backwards": (lambda: JwtConfig(secret=SECRET, leeway=-1), "JwtConfig.leeway"),
    "an issuer that is none": (lambda: JwtConfig(secret=SECRET, issuer=5), "JwtConfig.issuer"),
    "an audience that is none": (lambda: JwtConfig(secret=SECRET, audience=5), "JwtConfig.audience"),
    "claims that are none": (lambda: JwtConfig(secret=SECRET, require=5), "JwtConfig.require"),
    "both": (lambda: JwtConfig(secret=SECRET, jwks="a", algorithm="RS256"), "exclude each other"),
    "a set for a secret": (lambda: JwtConfig(jwks="a"), "JwtConfig.algorithm must name what the keys of jwks"),
    "no such file": (lambda: JwtConfig(jwks="/no/such", algorithm="RS256"), "JwtConfig.jwks: '/no/such' cannot be"),
    "another scheme": (lambda: JwtConfig(jwks="ftp://a/b", algorithm="RS256"), "JwtConfig.jwks must be a URL"),
    "no time": (lambda: JwtConfig(secret=SECRET, jwks_timeout_secs=0), "JwtConfig.jwks_timeout_secs"),
    "no cache": (lambda: JwtConfig(secret=SECRET, jwks_cache_secs=0), "JwtConfig.jwks_cache_secs"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(make, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_jwt(make())


def test_a_short_secret_is_told_and_never_shown(caplog):
    with caplog.at_level(logging.WARNING):
        App().enable_jwt(JwtConfig(secret="hunter2"))
    assert "JwtConfig.secret has 7 bytes" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(ConfigError) as refused:
        App().enable_jwt(JwtConfig(secret="hunter2", algorithm="RS256"))
    assert "hunter2" not in str(refused.value)


def test_it_needs_joserfc(monkeypatch):
    monkeypatch.setitem(sys.modules, "joserfc.jws", None)
    with pytest.raises(MissingDependency, match=r"cello\[auth\]"):
        App().enable_jwt(JwtConfig(secret=SECRET))
