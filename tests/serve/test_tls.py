"""Certificates: what is refused, and in which words."""

import contextlib
import signal
import socket
import ssl
import subprocess

import pytest

from cello.errors import ConfigError
from cello.serve.tls import Certificates, TlsConfig, make_context
from tests.serve.program import PATIENCE_S, Program, free_port, until


@pytest.fixture(scope="module")
def pem(tmp_path_factory, make_certificate):
    """A folder with a.crt and a.key, b.crt and b.key, locked.key and noise."""
    folder = tmp_path_factory.mktemp("pem")
    for name in "ab":
        make_certificate(folder, name)
    subprocess.run(
        ["openssl", "ec", "-in", "a.key", "-aes128", "-passout", "pass:x", "-out", "locked.key"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (folder / "noise").write_text("hello")
    (folder / "cut.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (folder / "both.pem").write_text((folder / "a.crt").read_text() + (folder / "a.key").read_text())
    return folder


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param(("none.crt", "a.key"), "certificate file .*none.crt' cannot be read: No such file", id="missing"),
        pytest.param(("a.crt", "none.key"), "private key file .*none.key' cannot be read", id="missing key"),
        pytest.param(("a.crt", "a.key", "none"), "CA file .*none' cannot be read", id="missing authority"),
        pytest.param(("noise", "a.key"), "certificate file .*noise' is not in PEM form", id="not PEM"),
        pytest.param(("cut.crt", "a.key"), "cut.crt' .* cannot be used", id="cut short"),
        pytest.param(("a.crt", "b.key"), "b.key' does not belong to the certificate .*a.crt'", id="another's key"),
        pytest.param(("a.crt", "locked.key"), "protected by a passphrase", id="locked key"),
        pytest.param(("a.crt", "a.key", "cut.crt"), "CA file .*cut.crt' cannot be used", id="bad authority"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(pem, files, words):
    with pytest.raises(ConfigError, match=words):
        make_context(TlsConfig(*(str(pem / file) for file in files)))


def test_the_context_speaks_the_versions_and_protocol_that_were_asked_for(pem):
    context = make_context(TlsConfig(str(pem / "both.pem"), str(pem / "both.pem"), min_version="1.3"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize(("required", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)])
def test_client_certificates_are_checked_against_the_authority(pem, required, mode):
    files = (str(pem / name) for name in ("a.crt", "a.key", "b.crt"))
    assert make_context(TlsConfig(*files, require_client_cert=required)).verify_mode == mode


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_version": "1.3", "max_version": "1.2"}, "min_version '1.3' is newer than max_version '1.2'"),
        ({"require_client_cert": True}, "require_client_cert needs ca_path"),
    ],
    ids=["versions crossed", "nobody to check against"],
)
def test_settings_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        make_context(TlsConfig("c", "k", **settings))


def test_old_versions_do_not_exist():
    with pytest.raises(ConfigError, match="min_version must be one of"):
        TlsConfig("c", "k", min_version="1.1")


# From here on, what others see: openssl's own client judges a running server.

APP = "from cello import App, TlsConfig\napp = App()\n@app.get('/')\ndef index(): return 'in'\n"


def program(pem, port, *words, tls=None):
    """Start a server in the folder of the certificates; `tls` is the text of a TlsConfig."""
    (pem / "app.py").write_text(APP + (f"app.set_tls({tls})\n" if tls else ""))
    return Program("-m", "cello", "run", "--port", str(port), "--no-logs", *words, folder=pem)


def client(pem, port, *words, request=b""):
    """Return what `openssl s_client` says of a handshake (and of the answer to `request`)."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *words]
    done = subprocess.run(command, cwd=pem, input=request, capture_output=True, timeout=PATIENCE_S)
    return (done.stdout + done.stderr).decode("latin-1")


GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def plain(pem):
    """A server with one certificate; its port."""
    port = free_port()
    with program(pem, port, tls="TlsConfig('a.crt', 'a.key')") as running:
        running.listening()
        yield port


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        pytest.param(["-tls1_3"], "New, TLSv1.3", id="TLS 1.3"),
        pytest.param(["-tls1_2"], "New, TLSv1.2", id="TLS 1.2"),
        pytest.param(["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "Cipher is (NONE)", id="TLS 1.1"),
        pytest.param(["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], "Cipher is (NONE)", id="TLS 1.0"),
        pytest.param(["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], "Cipher is (NONE)", id="CBC"),
        pytest.param(["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "Cipher is (NONE)", id="no forward secrecy"),
        pytest.param(["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], "Cipher is (NONE)", id="no authentication"),
        pytest.param(["-tls1_2", "-cipher", "ECDHE+AESGCM"], "Cipher is ECDHE-ECDSA-AES", id="AES-GCM"),
        pytest.param(["-tls1_2", "-cipher", "ECDHE+CHACHA20"], "Cipher is ECDHE-ECDSA-CHACHA20", id="ChaCha20"),
        pytest.param(["-alpn", "h2,http/1.1"], "ALPN protocol: http/1.1", id="ALPN"),
        pytest.param(["-tls1_2"], "Compression: NONE", id="no compression"),
    ],
)
def test_openssl_finds_what_is_safe_and_nothing_else(pem, plain, words, seen):
    assert seen in client(pem, plain, *words)


def test_renegotiation_is_refused_and_the_server_lives_on(pem, plain):
    said = client(pem, plain, "-tls1_2", request=b"R\n")
    assert "no renegotiation" in said or "alert" in said
    assert "\r\nin" in client(pem, plain, "-ign_eof", request=GET)


def test_plain_http_on_the_tls_port_gets_nothing_and_the_server_lives_on(pem, plain):
    with socket.create_connection(("127.0.0.1", plain), timeout=PATIENCE_S) as sock:
        sock.sendall(GET)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in sock.recv(1000)
    assert "\r\nin" in client(pem, plain, "-ign_eof", request=GET)


@pytest.fixture(scope="module")
def named(pem, make_certificate):
    """Certificates of further names, made by the name that they are for."""
    for name in ("shop.example", "wild.example"):
        make_certificate(pem, name)
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-key",
                f"{name}.key",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-out",
                f"{name}.crt",
            ],
            cwd=pem,
            check=True,
            capture_output=True,
        )
    return (
        "TlsConfig('a.crt', 'a.key', server_names={'shop.example': ('shop.example.crt', 'shop.example.key'),"
        " '*.wild.example': ('wild.example.crt', 'wild.example.key')})"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_name_that_a_client_asks_for_decides_the_certificate(pem, named, workers):
    port = free_port()
    with program(pem, port, "--workers", workers, tls=named) as running:
        running.listening()
        for name, subject in (
            ("shop.example", "shop.example"),
            ("SHOP.example", "shop.example"),
            ("a.wild.example", "wild.example"),
            ("a.b.wild.example", "localhost"),
            ("nobody.example", "localhost"),
        ):
            said = client(pem, port, "-servername", name, "-alpn", "http/1.1")
            assert f"subject=CN = {subject}\n" in said, name
            assert "ALPN protocol: http/1.1" in said, name
        assert "subject=CN = localhost\n" in client(pem, port, "-noservername")


def test_a_client_certificate_is_demanded_where_it_is_required(pem):
    port, tls = free_port(), "TlsConfig('a.crt', 'a.key', ca_path='b.crt', require_client_cert=True)"
    with program(pem, port, tls=tls) as running:
        running.listening()
        ours = ["-ign_eof", "-cert", "b.crt", "-key", "b.key"]
        assert "\r\nin" in client(pem, port, *ours, request=GET)
        for words in (["-ign_eof"], ["-ign_eof", "-cert", "a.crt", "-key", "a.key"]):
            said = client(pem, port, *words, request=GET)
            assert "HTTP/1.1" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_takes_new_certificates_and_keeps_the_old_when_they_are_bad(pem, make_certificate, workers):
    def serial():
        return client(pem, port).partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]

    port = free_port()
    make_certificate(pem, "turn")
    with program(pem, port, "--workers", workers, tls="TlsConfig('turn.crt', 'turn.key')") as running:
        running.listening()
        first = serial()
        good = (pem / "turn.crt").read_bytes()
        (pem / "turn.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        running.signal(signal.SIGHUP)
        kept = "turn.crt.* cannot be used.*; the old certificates stay in use"
        running.wait_for("the old code goes on serving" if workers == "2" else kept)
        assert "'turn.crt' with the private key 'turn.key' cannot be used" in running.output
        assert serial() == first
        (pem / "turn.crt").write_bytes(good)
        make_certificate(pem, "turn")
        running.signal(signal.SIGHUP)
        running.wait_for("the new code is serving" if workers == "2" else "certificates were read anew")
        until(lambda: serial() != first)
        assert "\r\nin" in client(pem, port, "-ign_eof", request=GET)


def test_a_bad_certificate_at_start_up_is_one_line_and_exit_1(pem):
    for workers in ("1", "2"):
        with program(pem, free_port(), "--workers", workers, tls="TlsConfig('a.crt', 'b.key')") as running:
            assert running.wait() == 1
        assert "error: the private key 'b.key' does not belong to the certificate 'a.crt'" in running.lines
        assert "Traceback" not in running.output


def test_names_without_a_pair_of_files_are_refused(pem):
    with pytest.raises(ConfigError, match=r"server_names\['x'\] must be \(cert_path, key_path\), not 'x.pem'"):
        Certificates(TlsConfig(str(pem / "a.crt"), str(pem / "a.key"), server_names={"x": "x.pem"}))
    with pytest.raises(ConfigError, match=r"none\.crt' cannot be read"):
        Certificates(TlsConfig(str(pem / "a.crt"), str(pem / "a.key"), server_names={"x": ("none.crt", "a.key")}))


def test_the_end_of_a_connection_is_said_before_it_is_closed(pem, plain):
    context = ssl.create_default_context(cafile=str(pem / "a.crt"))
    with (
        socket.create_connection(("127.0.0.1", plain), timeout=PATIENCE_S) as sock,
        context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False) as encrypted,
    ):
        encrypted.sendall(GET)
        answer = b""
        while piece := encrypted.recv(65536):  # without a closure alert this would raise SSLEOFError
            answer += piece
        assert answer.endswith(b"\r\nin")
