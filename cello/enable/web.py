"""What the web expects of an application: CORS, compression, files, templates, hosts and proxies."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cello.enable.base import Base
from cello.errors import ConfigError

if TYPE_CHECKING:
    from cello.features.static_files import StaticFilesConfig
    from cello.features.templates import Templates


class Web(Base):
    """What the web expects of an application: CORS, compression, files, templates, hosts and proxies."""

    def enable_cors(
        self,
        origins: str | re.Pattern[str] | Sequence[str | re.Pattern[str]] | None = None,
        *,
        methods: Collection[str] | None = None,
        headers: Collection[str] | None = None,
        expose_headers: Collection[str] = (),
        credentials: bool = False,
        max_age: int | None = 600,
        private_network: bool = False,
    ) -> None:
        """Let pages of other origins call this application and read its answers.

        Args:
            origins: "https://example.com", "https://*.example.com" (every subdomain, not the domain itself),
                "http://localhost:*" (every port), compiled patterns that the whole origin must match, or "null".
                None allows every origin.
            methods: What preflights allow; None: the standard ones and those that routes have.
            headers: Which request headers preflights allow; None: whichever are asked for.
            expose_headers: Which response headers pages may read beyond the few that they always may.
            credentials: Let browsers send cookies and the like; the origins must be listed then.
            max_age: Seconds that browsers may remember a preflight; None leaves it to them.
            private_network: Let pages of the public internet call a server in a private network.

        Raises:
            ConfigError: Something is no origin or header name, or credentials are combined with "*" or "null".
        """
        from cello.features.cors import Cors

        self._host.install(
            Cors(
                origins,
                methods=methods,
                headers=headers,
                expose_headers=expose_headers,
                credentials=credentials,
                max_age=max_age,
                private_network=private_network,
            )
        )

    def enable_compression(
        self,
        min_size: int | None = None,
        *,
        encodings: Collection[str] | None = None,
        levels: Mapping[str, int] | None = None,
        types: Collection[str] = (),
        exclude_paths: Collection[str] = (),
        requests: bool = True,
    ) -> None:
        """Compress answers for clients that can read them so, and decode the bodies of requests that come compressed.

        Args:
            min_size: Bytes; shorter answers are left alone. None: 1024.
            encodings: Of "zstd", "br" and "gzip", best first; None: those that are installed, of which gzip always is.
            levels: How hard to try, by encoding; default: zstd 3, br 4, gzip 6.
            types: Media types that are worth it besides text, JSON, XML and the like.
            exclude_paths: Paths that are left alone, and what is below them.
            requests: Decode the bodies of requests too.

        Raises:
            ConfigError: An argument is out of range.
            MissingDependency: An encoding that is asked for is not installed.
        """
        from cello.features.compression import Compression

        self._host.install(
            Compression(
                min_size,
                encodings=encodings,
                levels=levels,
                types=types,
                exclude_paths=exclude_paths,
                requests=requests,
            )
        )

    def enable_request_id(
        self, header: str = "X-Request-ID", *, trust: bool = True, generate: Callable[[], str] | None = None
    ) -> None:
        """Give every request an id: `request.request_id`, in the answer's header, and on every record logged meanwhile.

        Args:
            header: Where ids come in and go out.
            trust: Keep an id that comes in if it is well-formed: 1-128 letters, digits and `._~+/=:@-`, beginning with
                a letter or digit.
            generate: Makes ids instead of the built-in sequence; such as `lambda: str(uuid.uuid4())`.

        Raises:
            ConfigError: The header is no header name.
        """
        from cello.features.request_id import RequestIds

        self._host.install(RequestIds(header, trust=trust, generate=generate))

    def enable_trusted_hosts(
        self,
        hosts: Collection[str],
        *,
        https_redirect: bool = False,
        https_port: int | None = None,
        exclude_paths: Collection[str] = (),
    ) -> None:
        """Answer only requests for these hosts; others are 400.

        Args:
            hosts: "example.com", "*.example.com" (every subdomain, not the domain itself), "127.0.0.1", "[::1]"; any
                port.
            https_redirect: Send requests that came by http to the same place on https (308).
            https_port: Where https is, if not at 443.
            exclude_paths: Paths that answer under any host and scheme, and what is below them, such as ["/health"].

        Raises:
            ConfigError: Something is no host.
        """
        from cello.features.trusted_hosts import TrustedHosts

        self._host.install(
            TrustedHosts(hosts, https_redirect=https_redirect, https_port=https_port, exclude_paths=exclude_paths)
        )

    def set_trusted_proxies(self, proxies: Collection[str], *, header: str = "auto", host: bool = False) -> None:
        """Believe these proxies about the client's address and the scheme: `request.client_ip`, `request.scheme`.

        Args:
            proxies: Addresses and networks, such as ["127.0.0.1", "10.0.0.0/8"], and "unix" for a unix socket.
            header: Which header they write: "x-forwarded" (`X-Forwarded-For`, `-Proto`), "forwarded" (RFC 7239), or
                "auto" for whichever is there; requests in which the two disagree are refused then.
            host: Believe `X-Forwarded-Host` too. The proxies must set or remove it in every request.

        Raises:
            ConfigError: Something is no address or network.
        """
        from cello.features.trusted_proxies import TrustedProxies

        self._host.install(TrustedProxies(proxies, header=header, host=host))

    def enable_static_files(self, config: "StaticFilesConfig") -> None:
        """Serve the files of a folder; once for each prefix.

        Args:
            config: Which folder, where, and how: `StaticFilesConfig("static")`.

        Raises:
            ConfigError: There is no such folder, a setting cannot be, or the prefix is served already.
        """
        from cello.features.static_files import StaticFiles

        self._host.install(StaticFiles(config))

    def enable_templates(
        self,
        template_dir: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = "templates",
        auto_escape: bool = True,
        globals: Mapping[str, Any] | None = None,
        *,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        strict: bool = False,
    ) -> None:
        """Render pages by Jinja2: `render`, `render_string` and their coroutines.

        Args:
            template_dir: The folder of templates, or several, the first before the others; None for none.
            auto_escape: Escape what is put into a page, in all templates but those named `….txt`.
            globals: What every template can use, by name.
            filters: Further filters, by name.
            strict: An unknown variable is an error instead of nothing.

        Raises:
            ConfigError: There is no such folder, or an argument is of the wrong kind.
            MissingDependency: Jinja2 is not installed.
        """
        from cello.features.templates import Templates

        self._host.install(Templates(template_dir, auto_escape, globals, filters=filters, strict=strict))

    def render(self, name: str, context: Mapping[str, Any] | None = None) -> str:
        """Return the template `name`, filled in; a handler that returns it answers with HTML.

        Args:
            name: Its path below the folder of templates.
            context: What it can use, beside `request`, `url_for`, `csp_nonce`, `csrf_token` and the globals.

        Raises:
            ConfigError: `enable_templates()` was not called.
            jinja2.TemplateError: There is no such template, or something is wrong with it.
        """
        return self._templates().render(name, context)

    def render_string(self, source: str, context: Mapping[str, Any] | None = None) -> str:
        """Return a template given as text, filled in.

        SECURITY: a template can do what a program can; it must never come from a client, not even a part of it.

        Raises:
            ConfigError: `enable_templates()` was not called.
            jinja2.TemplateError: Something is wrong with it.
        """
        return self._templates().render_string(source, context)

    async def render_async(self, name: str, context: Mapping[str, Any] | None = None) -> str:
        """Do what `render` does, for templates that call coroutine functions or iterate over async generators."""
        return await self._templates().render_async(name, context)

    async def render_string_async(self, source: str, context: Mapping[str, Any] | None = None) -> str:
        """Do what `render_string` does, for the same."""
        return await self._templates().render_string_async(source, context)

    def _templates(self) -> "Templates":
        feature: Templates | None = self.feature("templates")
        if feature is None:
            raise ConfigError("render() needs app.enable_templates() first")
        return feature
