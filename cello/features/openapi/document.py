"""The OpenAPI 3.1 document of an application, made of what the application already says: routes, signatures, guards.

Not in it: endpoints of features, WebSockets, mounted applications (their prefixes stand in `x-mounts`), and methods
that OpenAPI has no place for. HEAD and OPTIONS, which are answered anyway, appear where they are written.

Two paths that differ only in the names of their parameters are one path, under the names that came first. Where both
have the same method they stay two, although OpenAPI would rather not have them.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from cello.features.openapi.naming import Schema
from cello.features.openapi.operations import Operations, identify
from cello.features.openapi.schemas import Schemas
from cello.features.openapi.security import Schemes, Security
from cello.pipeline.inject import Binding
from cello.routing.route import Route

VERSION = "3.1.0"
METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")

_NONE: Mapping[str, Any] = MappingProxyType({})
_NAME = re.compile(r"\{([^}]*)\}")


class About(NamedTuple):
    """What `enable_openapi` says of the whole.

    Attributes:
        title: The application's name.
        version: Its version, not that of OpenAPI.
        description: Prose, in Markdown.
        servers: URLs, or Server Objects.
        tags: Descriptions of tags.
        info: Further members of the Info Object: contact, license, termsOfService, summary.
        security_schemes: How clients sign in, beside what features register.
    """

    title: str = "Cello API"
    version: str = "1.0.1"
    description: str | None = None
    servers: Sequence[str | Mapping[str, Any]] = ()
    tags: Mapping[str, str] = _NONE
    info: Mapping[str, Any] = _NONE
    security_schemes: Schemes = _NONE


class Source(NamedTuple):
    """The application, as far as its document needs it.

    Attributes:
        routes: All of them.
        bindings: Where the arguments of each come from.
        guards: Those of every route.
        security_schemes: Those that features registered.
        wanted_schemes: Names those of which a route wants one, whatever its guards say.
        mounts: The prefixes of mounted applications.
    """

    routes: Sequence[Route]
    bindings: Mapping[Route, Binding]
    guards: Sequence[Any] = ()
    security_schemes: Schemes = _NONE
    mounts: Sequence[str] = ()
    wanted_schemes: Callable[[Route], Sequence[str]] = lambda route: ()


def make_document(about: About, source: Source) -> Schema:
    """Return the document.

    Raises:
        ConfigError: A model cannot be described.
    """
    schemas = Schemas()
    security = Security({**source.security_schemes, **about.security_schemes}, source.wanted_schemes)
    operations = Operations(source.guards, schemas, security)
    routes = [route for route in source.routes if route.options.include_in_schema and not route.is_builtin]
    listed = [(method, route) for route in routes for method in route.methods if method in METHODS]
    made = {route: operations.make(route, source.bindings[route]) for route in routes}
    paths = Paths()
    tags = dict.fromkeys(about.tags)
    for (method, route), identifier in zip(listed, identify(listed), strict=True):
        members, path_parameters, parameters = made[route]
        tags.update(dict.fromkeys(members.get("tags", ())))
        item, names = paths.place(route.template, method)
        renamed = [{**parameter, "name": names[parameter["name"]]} for parameter in path_parameters]
        everything = {"parameters": [*renamed, *parameters]} if renamed or parameters else {}
        item[method.lower()] = {"operationId": identifier, **members, **everything}
    document: Schema = {
        "openapi": VERSION,
        "info": _info(about),
        "servers": [{"url": server} if isinstance(server, str) else dict(server) for server in about.servers],
        "tags": [{"name": tag, **_described(about.tags.get(tag))} for tag in tags],
        "paths": paths.items,
        "components": {
            "responses": operations.stock.used,
            "securitySchemes": {name: dict(scheme) for name, scheme in sorted(security.mentioned.items())},
        },
        "x-mounts": list(source.mounts),
    }
    document, models = schemas.finish(document)
    components = {"schemas": models, **document["components"]}
    document["components"] = {name: group for name, group in components.items() if group}
    return {name: member for name, member in document.items() if member or name == "paths"}


def _info(about: About) -> Schema:
    description = inspect.cleandoc(about.description) if about.description else None
    return {"title": about.title, "version": about.version, **_described(description), **about.info}


def _described(text: str | None) -> Schema:
    return {"description": text} if text else {}


class Paths:
    """Path items, by templates of which no two match the same paths under one method.

    Attributes:
        items: The items by path.
    """

    def __init__(self) -> None:
        self.items: dict[str, Schema] = {}

    def place(self, template: str, method: str) -> tuple[Schema, dict[str, str]]:
        """Return the item that an operation belongs to, and the names that its path parameters have there."""
        written = quote(template, safe="/{}!$&'()*+,;=:@")  # as clients send it
        own = _NAME.findall(written)
        for path, item in self.items.items():
            if _NAME.sub("{}", path) == _NAME.sub("{}", written) and method.lower() not in item:
                return item, dict(zip(own, _NAME.findall(path), strict=True))
        path, number = written, 1
        while path in self.items:  # the same path by another converter
            number += 1
            path = _NAME.sub(rf"{{\1_{number}}}", written)
        self.items[path] = {}
        return self.items[path], dict(zip(own, _NAME.findall(path), strict=True))
