"""TLS by the standard library: from `TlsConfig` to an `ssl.SSLContext`, with errors that name the file at fault.

Forward secrecy and authenticated encryption only (TLS 1.2 with ECDHE and AES-GCM or ChaCha20, TLS 1.3), no compression,
no renegotiation, ALPN http/1.1.
"""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from cello.config import config, field
from cello.errors import ConfigError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@config
class TlsConfig:
    """Certificates and versions for an encrypted listener.

    Attributes:
        cert_path: PEM file with the certificate and its chain.
        key_path: PEM file with the private key; it may be the same file.
        ca_path: PEM file with the authorities that client certificates are checked against.
        min_version: Oldest TLS version accepted, "1.2" or "1.3".
        max_version: Newest TLS version offered, "1.2" or "1.3".
        require_client_cert: Refuse clients without a certificate of `ca_path`.
        server_names: Certificates of further hosts: name → (cert_path, key_path). A name may begin with `*.`, for one
            label; `cert_path` is for every name that is not here, and for clients that name none.
    """

    cert_path: str
    key_path: str
    ca_path: str | None = None
    min_version: str = field(default="1.2", one_of=tuple(_VERSIONS))
    max_version: str = field(default="1.3", one_of=tuple(_VERSIONS))
    require_client_cert: bool = False
    server_names: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Certificates:
    """The certificates of a server, which may be read anew while it serves.

    Args:
        tls: Where they are.

    Attributes:
        context: What connections are accepted with; always the same object.

    Raises:
        ConfigError: See `make_context`.
    """

    def __init__(self, tls: TlsConfig) -> None:
        self._tls = tls
        self._by_name = _read_all(tls)
        self.context = make_context(tls)
        self.context.sni_callback = self._choose

    def reload(self) -> None:
        """Read every file again, for new connections.

        Raises:
            ConfigError: One is bad; the old certificates stay in use.
        """
        self._by_name = _read_all(self._tls)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Take the certificate for `name`: called in each handshake, with None when the client names no host."""
        wanted = (name or "").lower().rstrip(".")
        chosen = self._by_name.get(wanted) or self._by_name.get("*." + wanted.partition(".")[2]) or self._by_name[""]
        connection.context = chosen


def _read_all(tls: TlsConfig) -> dict[str, ssl.SSLContext]:
    """Return a context for each server name, and under "" the one for all others."""
    contexts = {"": make_context(tls)}
    for name, files in tls.server_names.items():
        if isinstance(files, str) or len(files) != 2:
            raise ConfigError(f"TLS server_names[{name!r}] must be (cert_path, key_path), not {files!r:.80}")
        contexts[name.lower().rstrip(".")] = make_context(tls, *files)
    return contexts


def make_context(tls: TlsConfig, cert_path: str | None = None, key_path: str | None = None) -> ssl.SSLContext:
    """Return a server context for `tls`, with its own certificate or that of another name.

    Raises:
        ConfigError: A file is missing, unreadable, not PEM, or key and certificate do not belong together.
    """
    if tls.min_version > tls.max_version:
        raise ConfigError(f"TLS min_version {tls.min_version!r} is newer than max_version {tls.max_version!r}")
    if tls.require_client_cert and tls.ca_path is None:
        raise ConfigError("TLS require_client_cert needs ca_path: the authorities to check client certificates against")
    cert_path, key_path = cert_path or tls.cert_path, key_path or tls.key_path
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(_CIPHERS)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for what, path in (("certificate", cert_path), ("private key", key_path), ("CA", tls.ca_path)):
        _check_pem(what, path)
    try:
        context.load_cert_chain(cert_path, key_path, password=_refuse_passphrase)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"the private key {key_path!r} does not belong to the certificate {cert_path!r}"
            ) from None
        raise ConfigError(
            f"the certificate {cert_path!r} with the private key {key_path!r} cannot be used: {reason}"
        ) from None
    if tls.ca_path is not None:
        try:
            context.load_verify_locations(tls.ca_path)
        except ssl.SSLError as error:
            raise ConfigError(f"the CA file {tls.ca_path!r} cannot be used: {error.reason or error}") from None
        context.verify_mode = ssl.CERT_REQUIRED if tls.require_client_cert else ssl.CERT_OPTIONAL
    return context


def _check_pem(what: str, path: str | None) -> None:
    if path is None:
        return
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"the {what} file {path!r} cannot be read: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise ConfigError(f"the {what} file {path!r} is not in PEM form (it has no -----BEGIN line)")


def _refuse_passphrase() -> str:
    raise ConfigError("the private key is protected by a passphrase; decrypt it first: openssl pkey -in KEY -out PLAIN")
