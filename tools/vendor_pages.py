"""Refresh the browser code of the documentation pages, which the package ships so that no page asks another host.

    python tools/vendor_pages.py [PACKAGE=VERSION ...]

Needs npm. Each package is fetched by `npm pack` in the version below (or as given), the files that a page needs are
taken out of it, changed where the table says why, compressed with gzip, and written with their licences and a manifest
to the folder of the feature that serves them. The result depends on nothing but the versions, so that running it again
changes nothing. Afterwards run the browser tests: `python -m pytest tests/features/openapi`.
"""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
OPENAPI_ASSETS = ROOT / "cello" / "features" / "openapi" / "assets"
GRAPHQL_ASSETS = ROOT / "cello" / "graphql" / "assets"


def without_source_map(text: str) -> str:
    """Remove the mention of a source map, which is not shipped and would be asked for."""
    return re.sub(r"\n?(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+ ?\*/)\s*$", "\n", text)


def for_strict_pages(text: str) -> str:
    """Let ReDoc run under a strict policy.

    Its styles get the nonce of its script from the start: the `nonce` option comes too late for the first of them. Its
    footer shows no logo, whose address is at another host.
    """
    text = once(r"\b(\w)\.nc=void 0;", r"\1.nc=document.currentScript?.nonce;", text)
    return without_source_map(once(r'"https://[^"]+/logo-mini\.svg"', '"data:,"', text))


def once(pattern: str, replacement: str, text: str) -> str:
    """Replace what must stand in a file exactly once."""
    changed, count = re.subn(pattern, replacement, text)
    if count != 1:
        sys.exit(f"{pattern!r} is found {count} times, not once: look at the new version")
    return changed


class File(NamedTuple):
    """One file to ship: where it is in its package, and what is changed in it."""

    source: str
    change: Callable[[str], str] = without_source_map


class Package(NamedTuple):
    """One package: its version, the files taken, the licences that go with them, and what was changed, in words."""

    version: str
    folder: Path
    files: tuple[File, ...]
    licences: tuple[str, ...]
    changes: str = "Source map comments were removed."


PACKAGES = {
    "swagger-ui-dist": Package(
        "5.35.0",
        OPENAPI_ASSETS,
        (File("swagger-ui.css"), File("swagger-ui-bundle.js")),
        ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"),
    ),
    "redoc": Package(
        "2.5.4",
        OPENAPI_ASSETS,
        (File("bundles/redoc.standalone.js", for_strict_pages),),
        ("LICENSE", "bundles/redoc.standalone.js.LICENSE.txt"),
        "The source map comment and the address of a logo were removed; styles take the nonce of the script.",
    ),
    "graphiql": Package("4.1.2", GRAPHQL_ASSETS, (File("graphiql.min.css"), File("graphiql.min.js")), ("LICENSE",)),
    "react": Package("18.3.1", GRAPHQL_ASSETS, (File("umd/react.production.min.js"),), ("LICENSE",)),
    "react-dom": Package("18.3.1", GRAPHQL_ASSETS, (File("umd/react-dom.production.min.js"),), ("LICENSE",)),
}


def fetch(name: str, version: str, folder: Path) -> Path:
    """Download a package and return the folder it was unpacked to."""
    command = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    [archive] = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"


def vendor(name: str, package: Package) -> dict[str, dict[str, str]]:
    """Write what is shipped of one package; return its entries in the manifest."""
    entries = {}
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = fetch(name, package.version, Path(scratch))
        for file in package.files:
            content = file.change((unpacked / file.source).read_text(encoding="utf-8")).encode()
            target = Path(file.source).name
            (package.folder / f"{target}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
            entries[target] = {
                "package": name,
                "version": package.version,
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        texts = [(unpacked / licence).read_text(encoding="utf-8").strip() for licence in package.licences]
        title = f"{name} {package.version}"
        notice = f"{title}\n{'=' * len(title)}\n\nChanged by tools/vendor_pages.py: {package.changes}\n\n"
        licence = package.folder / f"{name}.LICENSE.txt"
        licence.write_text(notice + "\n\n----\n\n".join(texts) + "\n", encoding="utf-8")
    return entries


def main(arguments: list[str]) -> None:
    """Refresh every package."""
    wanted = dict(argument.split("=", 1) for argument in arguments)
    manifests: dict[Path, dict[str, dict[str, str]]] = {}
    for name, package in PACKAGES.items():
        entries = vendor(name, package._replace(version=wanted.get(name, package.version)))
        manifests.setdefault(package.folder, {}).update(entries)
    for folder, entries in manifests.items():
        (folder / "manifest.json").write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for target, entry in entries.items():
            print(f"{entry['package']} {entry['version']}: {folder.relative_to(ROOT)}/{target}.gz")


if __name__ == "__main__":
    main(sys.argv[1:])
