"""GraphQL over HTTP: what is asked for, in which media type it is answered, and with which status.

After the "GraphQL over HTTP" specification. A request that cannot be understood is 400. One that is understood is 200
in `application/json`, whatever becomes of it; in `application/graphql-response+json` it is 400 where nothing was
executed.

SECURITY: GET executes queries only, and files are taken only with a field that no form of another page can send
(`GraphQL-Require-Preflight`); so no page of another origin can have a browser mutate anything without a preflight.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from cello.errors import BadRequest, HTTPError, MethodNotAllowed, UnsupportedMediaType
from cello.graphql.config import GraphQLConfig
from cello.http import json_codec, media
from cello.http.forms import FormData
from cello.http.grammar import parse_parameters
from cello.http.request import Request
from cello.http.response import Response

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
EVENTS = "text/event-stream"
HTML = "text/html"
PREFLIGHT_FIELDS = ("graphql-require-preflight", "apollo-require-preflight")
KEPT_QUERIES = 1_000


class NotAcceptable(HTTPError):
    """406: none of what can be answered is accepted."""


class Params(NamedTuple):
    """One request for something to be executed."""

    query: str
    variables: Mapping[str, Any]
    operation_name: str | None


class PersistedQueryNotFound(Exception):
    """A client named a query by its hash, and nobody has sent its text yet; it is to send both."""


class PersistedQueries:
    """Texts by their SHA-256 (automatic persisted queries), the latest `KEPT_QUERIES`."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def text(self, wanted: str, query: str | None) -> str:
        """Return the text of a hash; where the text comes with it, keep it.

        Raises:
            PersistedQueryNotFound: It is not known.
            BadRequest: The hash is not that of the text.
        """
        if query is None:
            with self._lock:
                found = self._texts.get(wanted)
                if found is not None:
                    self._texts.move_to_end(wanted)
            if found is None:
                raise PersistedQueryNotFound
            return found
        if hashlib.sha256(query.encode()).hexdigest() != wanted:
            raise BadRequest("The hash in extensions.persistedQuery is not that of the query.")
        with self._lock:
            self._texts[wanted] = query
            if len(self._texts) > KEPT_QUERIES:
                self._texts.popitem(last=False)
        return query


def choose_media(request: Request) -> str:
    """Return the media type of the answer: the best of what is accepted, JSON where nothing is said.

    Raises:
        NotAcceptable: None of ours is.
    """
    accepted = request.headers.get("accept", "")
    if not accepted.strip():
        return JSON
    weights = dict(media.parse_qualities(accepted))
    offers = (RESPONSE_JSON, JSON, EVENTS)

    def weight(offer: str) -> float:
        return weights.get(offer, weights.get(f"{offer.partition('/')[0]}/*", 0.0))

    best = max(offers, key=weight)
    if weight(best) > 0:
        return best
    if weights.get("*/*", 0.0) > 0:
        return JSON
    raise NotAcceptable(406, f"Answers are {JSON}, {RESPONSE_JSON} or {EVENTS}.")


def wants_page(request: Request) -> bool:
    """Return whether a browser has opened the address."""
    weights = dict(media.parse_qualities(request.headers.get("accept", "")))
    return weights.get(HTML, 0.0) > 0 and weights.get(RESPONSE_JSON, 0.0) == 0 and "query" not in request.query


class Reader:
    """Reads requests.

    Args:
        config: Whether batches are taken, and how large.
    """

    def __init__(self, config: GraphQLConfig) -> None:
        self._most = config.max_batch if config.batching else 0
        self._persisted = PersistedQueries()

    def read(self, request: Request) -> "Params | list[Params]":
        """Return what is to be executed, a list for a batch.

        Raises:
            HTTPError: It cannot be understood.
            PersistedQueryNotFound: See there.
        """
        if request.method == "GET":
            return self._params(_of_query(request))
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            asked = _of_multipart(request)
        elif kind == JSON:
            if (charset := _charset(request)) not in ("", "utf-8", "utf8"):
                raise UnsupportedMediaType(f"JSON is sent in UTF-8, not in {charset!r:.80}.")
            asked = request.json()
        else:
            raise UnsupportedMediaType(f"A GraphQL request is sent as {JSON}.")
        if isinstance(asked, list):
            return self._batch(asked)
        return self._params(asked)

    def _batch(self, asked: list[Any]) -> list[Params]:
        if not self._most:
            raise BadRequest("Batches of requests are not taken here.")
        if not 0 < len(asked) <= self._most:
            raise BadRequest(f"A batch has 1 to {self._most} requests.")
        return [self._params(each) for each in asked]

    def _params(self, asked: Any) -> Params:
        if not isinstance(asked, dict):
            raise BadRequest("A GraphQL request is a JSON object with a member 'query'.")
        query, name = asked.get("query"), asked.get("operationName")
        variables, extensions = asked.get("variables"), asked.get("extensions")
        if query is not None and not isinstance(query, str):
            raise BadRequest("'query' is text.")
        if name is not None and not isinstance(name, str):
            raise BadRequest("'operationName' is text.")
        for member, value in (("variables", variables), ("extensions", extensions)):
            if value is not None and not isinstance(value, dict):
                raise BadRequest(f"{member!r} is an object.")
        persisted = (extensions or {}).get("persistedQuery")
        if isinstance(persisted, dict) and isinstance(persisted.get("sha256Hash"), str):
            query = self._persisted.text(persisted["sha256Hash"], query)
        if not query:
            raise BadRequest("There is no 'query'.")
        return Params(query, variables or {}, name or None)


def check_method(request: Request, operation: str) -> None:
    """Refuse all but queries by GET.

    Raises:
        MethodNotAllowed: It is a mutation by GET.
    """
    if request.method == "GET" and operation == "mutation":
        raise MethodNotAllowed("GET executes queries only; send a mutation by POST.", {"Allow": "POST"})


def answer(result: Any, chosen: str) -> Response:
    """Return the response with one result, or the list of a batch."""
    is_executed = isinstance(result, list) or "data" in result
    status = 200 if is_executed or chosen == JSON else 400
    return Response(json_codec.encode(result), status, None, f"{chosen}; charset=utf-8")


def refusal(error: HTTPError, chosen: str = JSON) -> Response:
    """Return the answer to what cannot be understood."""
    content = json_codec.encode({"errors": [{"message": error.detail}]})
    kind = JSON if chosen == EVENTS else chosen
    return Response(content, error.status, dict(error.headers or {}), f"{kind}; charset=utf-8")


def persisted_query_not_found(chosen: str) -> Response:
    """Return what has the client send the text as well."""
    error = {"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}
    return Response(json_codec.encode({"errors": [error]}), 200, None, f"{chosen}; charset=utf-8")


def _of_query(request: Request) -> dict[str, Any]:
    asked: dict[str, Any] = dict(request.query)
    for name in ("variables", "extensions"):
        if name in asked:
            try:
                asked[name] = json.loads(asked[name])
            except ValueError:
                raise BadRequest(f"'{name}' in the query string is JSON.") from None
    return asked


def _of_multipart(request: Request) -> Any:
    """Return the operations with the files put in their places (GraphQL multipart request specification)."""
    if not any(request.headers.get(name) for name in PREFLIGHT_FIELDS):
        raise BadRequest("Files need the field 'GraphQL-Require-Preflight: 1', which no foreign form can send.")
    form = request.form()
    if not isinstance(form, FormData):
        raise BadRequest("A request with files has the parts 'operations', 'map', and the files.")
    operations, places = _json_part(form, "operations"), _json_part(form, "map")
    if not isinstance(places, dict):
        raise BadRequest("'map' is an object: name of a part → places in 'operations'.")
    for part, paths in places.items():
        file = form.get_file(part)
        if file is None:
            raise BadRequest(f"'map' names the part {part!r:.80}, and there is no such file.")
        for path in paths if isinstance(paths, list) else []:
            _put(operations, str(path), file)
    return operations


def _json_part(form: FormData, name: str) -> Any:
    text = form.get(name)
    try:
        return json.loads(text or "")
    except ValueError:
        raise BadRequest(f"The part {name!r} is JSON.") from None


def _put(operations: Any, path: str, file: object) -> None:
    *steps, last = path.split(".")
    place = operations
    try:
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        key: Any = int(last) if isinstance(place, list) else last
        if place[key] is not None:
            raise KeyError(last)
        place[key] = file
    except (KeyError, IndexError, ValueError, TypeError):
        raise BadRequest(f"'map' names {path!r:.80}, which is no null in 'operations'.") from None


def _charset(request: Request) -> str:
    _, _, rest = (request.content_type or "").partition(";")
    parameters = parse_parameters(f";{rest}" if rest else "") or {}
    return parameters.get("charset", "").lower()
