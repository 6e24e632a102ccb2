"""Content-Security-Policy, built directive by directive instead of typed as one long string."""

import re
from collections.abc import Iterable
from typing import ClassVar

from cello.errors import ConfigError

NONCE_PLACE = "{nonce}"

_KEYWORDS = frozenset({
    "self", "none", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample",
    "wasm-unsafe-eval", "inline-speculation-rules",
})  # fmt: skip
_KEYWORDS_OF = {"require-trusted-types-for": {"script"}, "trusted-types": {"none", "allow-duplicates"}}
_NONCE_OR_HASH = re.compile(r"(?:nonce|sha256|sha384|sha512)-\S+")
# CSP3 §2.3: a source is made of visible ASCII, and ";" and "," would end it.
_SOURCE = re.compile(r"[\x21-\x2b\x2d-\x3a\x3c-\x7e]+")


class CSP:
    """A content security policy; each method returns a new one with one more directive.

        CSP().default_src(["self"]).script_src(["self", CSP.NONCE]).img_src(["self", "data:"])

    Keywords, nonces and hashes are quoted where they are not. An empty list allows nothing. A directive that is given
    again replaces the one before.

    Attributes:
        NONCE: A source that stands for a new nonce in every request; handlers find it as
            `request.context["csp_nonce"]`, for `<script nonce="…">`.
    """

    NONCE: ClassVar[str] = f"'nonce-{NONCE_PLACE}'"

    __slots__ = ("_directives",)

    def __init__(self) -> None:
        self._directives: dict[str, str] = {}

    def _with(self, directive: str, value: str) -> "CSP":
        made = CSP()
        made._directives = {**self._directives, directive: value}
        return made

    def _allow(self, directive: str, sources: Iterable[str]) -> "CSP":
        if isinstance(sources, str):
            sources = sources.split()
        listed = [_quoted(directive, source) for source in sources] or ["'none'"]
        if "'none'" in listed and len(listed) > 1:
            raise ConfigError(f"CSP: 'none' stands alone, but {directive} lists {' '.join(listed)!r:.80}")
        return self._with(directive, " ".join(dict.fromkeys(listed)))

    def default_src(self, sources: Iterable[str]) -> "CSP":
        """Allow everything that no other directive is about."""
        return self._allow("default-src", sources)

    def script_src(self, sources: Iterable[str]) -> "CSP":
        """Allow scripts."""
        return self._allow("script-src", sources)

    def script_src_elem(self, sources: Iterable[str]) -> "CSP":
        """Allow `<script>` elements."""
        return self._allow("script-src-elem", sources)

    def script_src_attr(self, sources: Iterable[str]) -> "CSP":
        """Allow event handlers in attributes."""
        return self._allow("script-src-attr", sources)

    def style_src(self, sources: Iterable[str]) -> "CSP":
        """Allow styles."""
        return self._allow("style-src", sources)

    def style_src_elem(self, sources: Iterable[str]) -> "CSP":
        """Allow `<style>` elements and stylesheets."""
        return self._allow("style-src-elem", sources)

    def style_src_attr(self, sources: Iterable[str]) -> "CSP":
        """Allow styles in attributes."""
        return self._allow("style-src-attr", sources)

    def img_src(self, sources: Iterable[str]) -> "CSP":
        """Allow images."""
        return self._allow("img-src", sources)

    def font_src(self, sources: Iterable[str]) -> "CSP":
        """Allow fonts."""
        return self._allow("font-src", sources)

    def connect_src(self, sources: Iterable[str]) -> "CSP":
        """Allow what scripts may connect to."""
        return self._allow("connect-src", sources)

    def media_src(self, sources: Iterable[str]) -> "CSP":
        """Allow audio and video."""
        return self._allow("media-src", sources)

    def object_src(self, sources: Iterable[str]) -> "CSP":
        """Allow plug-ins."""
        return self._allow("object-src", sources)

    def frame_src(self, sources: Iterable[str]) -> "CSP":
        """Allow frames in the page."""
        return self._allow("frame-src", sources)

    def child_src(self, sources: Iterable[str]) -> "CSP":
        """Allow frames and workers."""
        return self._allow("child-src", sources)

    def worker_src(self, sources: Iterable[str]) -> "CSP":
        """Allow workers."""
        return self._allow("worker-src", sources)

    def manifest_src(self, sources: Iterable[str]) -> "CSP":
        """Allow web app manifests."""
        return self._allow("manifest-src", sources)

    def base_uri(self, sources: Iterable[str]) -> "CSP":
        """Allow what `<base>` may say."""
        return self._allow("base-uri", sources)

    def form_action(self, sources: Iterable[str]) -> "CSP":
        """Allow where forms may be sent."""
        return self._allow("form-action", sources)

    def frame_ancestors(self, sources: Iterable[str]) -> "CSP":
        """Allow who may show the page in a frame."""
        return self._allow("frame-ancestors", sources)

    def require_trusted_types_for(self, sinks: Iterable[str]) -> "CSP":
        """Have scripts go through trusted types; `["script"]` is the only choice."""
        return self._allow("require-trusted-types-for", sinks)

    def trusted_types(self, policies: Iterable[str]) -> "CSP":
        """Allow trusted types policies by name."""
        return self._allow("trusted-types", policies)

    def sandbox(self, permissions: Iterable[str] = ()) -> "CSP":
        """Treat the page as if in a sandboxed frame with these permissions, such as `["allow-forms"]`."""
        listed = permissions.split() if isinstance(permissions, str) else list(permissions)
        return self._with("sandbox", " ".join(_checked("sandbox", permission) for permission in listed))

    def upgrade_insecure_requests(self) -> "CSP":
        """Have browsers fetch over https what the page names with http."""
        return self._with("upgrade-insecure-requests", "")

    def report_to(self, name: str) -> "CSP":
        """Send reports to an endpoint that `Reporting-Endpoints` names."""
        return self._with("report-to", _checked("report-to", name))

    def report_uri(self, uri: str) -> "CSP":
        """Send reports to a URL; the older way."""
        return self._with("report-uri", _checked("report-uri", uri))

    def build(self) -> str:
        """Return the header's value; `{nonce}` stands where the nonce of a request goes.

        Raises:
            ConfigError: There is no directive.
        """
        if not self._directives:
            raise ConfigError("CSP: the policy has no directive")
        return "; ".join(f"{name} {value}".rstrip() for name, value in self._directives.items())

    def __str__(self) -> str:
        return self.build()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CSP) and self._directives == other._directives

    def __hash__(self) -> int:
        return hash(tuple(self._directives.items()))

    def __repr__(self) -> str:
        return f"<CSP {'; '.join(self._directives)}>"


def _checked(directive: str, text: object) -> str:
    if not isinstance(text, str) or not _SOURCE.fullmatch(text):
        raise ConfigError(f"CSP: {text!r:.80} cannot stand in {directive}: one source, without blanks, ';' or ','")
    return text


def _quoted(directive: str, source: object) -> str:
    text = _checked(directive, source)
    is_keyword = text in _KEYWORDS_OF.get(directive, _KEYWORDS)
    return f"'{text}'" if is_keyword or _NONCE_OR_HASH.fullmatch(text) else text
