"""The OpenAPI document: valid, and true to what the application does."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from cello import (
    App,
    Blueprint,
    Body,
    ConfigError,
    Depends,
    Guard,
    Header,
    Not,
    Or,
    Path,
    Permission,
    Query,
    Response,
    Role,
)
from cello.cli import main
from cello.guards import And, Authenticated
from cello.testing import TestClient
from tests.features.openapi import shop
from tests.features.openapi.shop import Colour, NewItem

DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def valid(app: App) -> dict[str, Any]:
    """Return the document of an application, having had it validated."""
    document = json.loads(json.dumps(app.openapi()))
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    return document


@pytest.fixture(scope="module")
def document():
    return valid(shop.make_app())


def operation(document, method, path):
    return document["paths"][path][method]


def resolved(document, schema):
    while "$ref" in schema:
        found = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        schema = found
    return schema


def parameters(document, method, path):
    return {parameter["name"]: parameter for parameter in operation(document, method, path)["parameters"]}


def test_the_head_of_the_document_says_what_it_is_about(document):
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Shop", "version": "2.0", "description": "Sells things."}
    assert document["tags"] == [{"name": "people", "description": "Who they are."}, {"name": "shop"}]


def test_every_route_is_in_it_and_no_endpoint_of_a_feature(document):
    assert sorted(document["paths"]) == [
        "/both",
        "/customers/{id}",
        "/raw",
        "/shop/basket",
        "/shop/files/{rest}",
        "/shop/filters",
        "/shop/items",
        "/shop/items/{id}",
        "/shop/login",
        "/shop/orders",
        "/shop/pictures",
        "/shop/shapes",
        "/staff/{id}",
    ]


def test_parameters_of_a_path_under_several_names_are_one(document):
    assert set(document["paths"]["/shop/items/{id}"]) == {"get", "put", "delete"}
    assert parameters(document, "put", "/shop/items/{id}")["id"] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": 9},
    }


def test_summary_and_description_come_from_the_route_or_the_docstring(document):
    found = operation(document, "get", "/shop/items")
    assert (found["summary"], found["description"]) == (
        "Search the items",
        "In the order in which they were **added**.",
    )
    found = operation(document, "get", "/customers/{id}")
    assert (found["summary"], found["description"]) == ("One customer", "By **id**.")
    assert operation(document, "post", "/shop/items")["summary"] == "Add item"
    assert operation(document, "put", "/shop/items/{id}")["deprecated"] is True
    assert operation(document, "get", "/shop/items")["tags"] == ["shop"]


def test_parameters_have_their_types_bounds_and_defaults_and_those_of_dependencies_too(document):
    found = parameters(document, "get", "/shop/items")
    assert found["limit"] == {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
    }
    assert found["q"] == {
        "name": "q",
        "in": "query",
        "description": "A word to look for.",
        "schema": {"type": "string", "maxLength": 50},
    }
    assert resolved(document, found["colour"]["schema"]) == {
        "type": "string",
        "enum": ["red", "blue"],
        "description": "What it is painted in.",
    }
    assert found["tag"]["schema"] == {"type": "array", "items": {"type": "string"}, "default": []}
    assert parameters(document, "put", "/shop/items/{id}")["X-Note"]["in"] == "header"
    found = parameters(document, "get", "/shop/basket")
    assert found["basket"] == {"name": "basket", "in": "cookie", "schema": {"type": "string", "format": "uuid"}}
    assert found["at"]["schema"] == {"type": "string", "format": "date-time"}
    assert parameters(document, "get", "/staff/{id}")["id"]["schema"] == {"type": "string", "format": "uuid"}
    assert "slashes" in parameters(document, "get", "/shop/files/{rest}")["rest"]["description"]


def test_a_model_is_a_component_with_its_words_bounds_and_defaults(document):
    body = operation(document, "post", "/shop/items")["requestBody"]
    assert body["required"] is True
    model = resolved(document, body["content"]["application/json"]["schema"])
    assert model == {
        "type": "object",
        "description": "What a client sends.",
        "required": ["name", "price"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 40, "description": "What it is called."},
            "price": {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal", "pattern": DECIMAL}]},
            "colour": {"$ref": "#/components/schemas/Colour", "default": "red"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "parent": {"anyOf": [{"$ref": "#/components/schemas/NewItem-Input"}, {"type": "null"}], "default": None},
        },
    }


def test_a_model_that_is_given_differently_than_it_is_taken_has_two_names(document):
    taken, given = (document["components"]["schemas"][f"NewItem-{way}"] for way in ("Input", "Output"))
    assert given["properties"]["price"] == {"type": "string", "format": "decimal"}
    assert given["properties"]["parent"]["anyOf"][0] == {"$ref": "#/components/schemas/NewItem-Output"}
    assert taken["required"] == given["required"]


def test_models_of_one_name_are_kept_apart(document):
    staff = operation(document, "get", "/staff/{id}")["responses"]["200"]["content"]["application/json"]["schema"]
    customer = operation(document, "get", "/customers/{id}")["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    assert staff == {"$ref": "#/components/schemas/shop__staff__User"}
    assert customer == {"$ref": "#/components/schemas/shop__customers__User"}
    assert "staff" in resolved(document, staff)["properties"]


def test_a_generic_model_is_named_after_its_parameters(document):
    found = operation(document, "get", "/shop/items")["responses"]["200"]["content"]["application/json"]["schema"]
    assert found == {"$ref": "#/components/schemas/Page_Item"}
    assert resolved(document, found)["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Item"}


def test_tagged_structs_have_a_discriminator(document):
    body = operation(document, "post", "/shop/shapes")["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"] == {
        "propertyName": "type",
        "mapping": {"circle": "#/components/schemas/Circle", "square": "#/components/schemas/Square"},
    }
    assert body["examples"] == [{"type": "circle", "radius": 1.5}]
    circle, square = (document["components"]["schemas"][name] for name in ("Circle", "Square"))
    assert circle["additionalProperties"] is False
    assert circle["properties"]["type"] == {"type": "string", "enum": ["circle"]}
    assert square["properties"]["sideLength"] == {"type": "number", "minimum": 0, "maximum": 1000}


def test_pydantic_describes_its_own_models(document):
    found = operation(document, "post", "/shop/orders")["requestBody"]["content"]["application/json"]["schema"]
    model = resolved(document, found)
    assert model["description"] == "An order, by pydantic."
    assert model["properties"]["amount"] == {"exclusiveMinimum": 0, "title": "Amount", "type": "number"}


def test_several_body_parameters_are_members_of_one_object(document):
    schema = operation(document, "post", "/shop/filters")["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["name", "filter"]
    assert schema["properties"] == {
        "name": {"type": "string", "minLength": 1},
        "filter": {"$ref": "#/components/schemas/Filter"},
    }


def test_forms_and_files_have_their_media_types(document):
    content = operation(document, "post", "/shop/pictures")["requestBody"]["content"]
    assert content == {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["picture", "title"],
                "properties": {
                    "picture": {"type": "string", "format": "binary"},
                    "title": {"type": "string", "maxLength": 20},
                },
            }
        }
    }
    content = operation(document, "post", "/shop/login")["requestBody"]["content"]
    assert set(content) == {"application/x-www-form-urlencoded", "multipart/form-data"}
    assert set(operation(document, "post", "/raw")["requestBody"]["content"]) == {"application/octet-stream"}


def test_answers_follow_the_return_annotation(document):
    def answers(method, path):
        return operation(document, method, path)["responses"]

    assert set(answers("post", "/shop/items")) == {"201", "409", "422", "4XX", "5XX"}
    assert answers("post", "/shop/items")["409"]["description"] == "There is one already"
    assert set(answers("post", "/shop/items")["409"]["content"]) == {"application/problem+json"}
    assert set(answers("get", "/shop/items/{id}")) == {"200", "404", "422", "4XX", "5XX"}
    assert set(answers("delete", "/shop/items/{id}")) == {"204", "401", "403", "422", "4XX", "5XX"}
    assert set(answers("post", "/shop/login")["200"]["content"]) == {"text/plain"}
    assert set(answers("get", "/shop/files/{rest}")["200"]["content"]) == {"application/octet-stream"}
    assert answers("post", "/shop/shapes")["200"]["content"]["application/json"]["schema"] == {"type": "number"}


def test_problems_are_components(document):
    assert operation(document, "get", "/shop/items")["responses"]["422"] == {"$ref": "#/components/responses/NotValid"}
    problem = document["components"]["responses"]["NotValid"]["content"]["application/problem+json"]["schema"]
    assert resolved(document, problem)["required"] == ["errors"]
    assert "WWW-Authenticate" in document["components"]["responses"]["Unauthorized"]["headers"]


def test_guards_are_security_requirements(document):
    assert operation(document, "put", "/shop/items/{id}")["security"] == [{"bearerAuth": []}]
    found = operation(document, "delete", "/shop/items/{id}")
    assert found["security"] == [{"bearerAuth": ["admin", "owner"]}]
    assert found["description"] == "Requires role: `admin` or `owner`."
    assert document["components"]["securitySchemes"] == {"bearerAuth": {"type": "http", "scheme": "bearer"}}
    assert "security" not in operation(document, "get", "/shop/items")


def test_ids_of_operations_are_unique(document):
    ids = [found["operationId"] for item in document["paths"].values() for found in item.values()]
    assert len(set(ids)) == len(ids)
    assert {"list_items", "both_get", "both_post"} <= {name.rpartition("shop_")[2] for name in ids}


def answered(handler: Any, **options: Any) -> dict[str, Any]:
    """Return the operation of one handler."""
    app = App()
    app.get("/x", **options)(handler)
    return valid(app)["paths"]["/x"]["get"]


class Key(Guard):
    """A guard that says itself how clients sign in."""

    security_schemes = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}}  # noqa: RUF012

    def check(self, request):
        return True


REQUIREMENTS = {
    "a function": ([lambda request: True], None),
    "a user": ([Authenticated()], [{"bearerAuth": []}]),
    "a user by another scheme": ([Authenticated(scheme="Basic")], [{"basicAuth": []}]),
    "a user and a role": ([Authenticated(), Role("a")], [{"bearerAuth": ["a"]}]),
    "all permissions": ([And(Permission(["a", "b"]), Authenticated())], [{"bearerAuth": ["a", "b"]}]),
    "either": ([Or(Key(), Authenticated())], [{"key": []}, {"bearerAuth": []}]),
    "both of two": ([Key(), Authenticated()], [{"bearerAuth": [], "key": []}]),
    "the contrary": ([Not(Authenticated())], None),
    "one that needs nothing": ([Or(Authenticated(), Not(Authenticated()))], [{"bearerAuth": []}, {}]),
}


@pytest.mark.parametrize(("guards", "expected"), REQUIREMENTS.values(), ids=REQUIREMENTS.keys())
@pytest.mark.parametrize("place", ["the application", "the route"])
def test_guards_say_what_a_request_must_carry(guards, expected, place):
    app = App()
    for guard in guards if place == "the application" else ():
        app.add_guard(guard)
    app.get("/x", guards=guards if place == "the route" else None)(lambda: {"a": 1})
    found = valid(app)["paths"]["/x"]["get"]
    assert found.get("security") == expected
    assert "403" in found["responses"]


def test_registered_schemes_go_before_the_guards_own():
    app = App()
    app._host.add_security_scheme("jwt", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    app.enable_openapi(security_schemes={"key": {"type": "apiKey", "in": "header", "name": "X-Key"}})
    app.get("/x", guards=[Authenticated()])(lambda: {"a": 1})
    document = valid(app)
    assert document["paths"]["/x"]["get"]["security"] == [{"jwt": []}, {"key": []}]
    assert set(document["components"]["securitySchemes"]) == {"jwt", "key"}
    with pytest.raises(ConfigError, match="a security scheme named 'jwt' already"):
        app._host.add_security_scheme("jwt", {})


@dataclasses.dataclass
class Small:
    n: int


RESPONSES = {
    "words": ({404: "Gone"}, "404", "Gone", "application/problem+json"),
    "a type": ({404: Small}, "404", "Not Found", "application/json"),
    "another success": ({201: "Made"}, "201", "Made", "application/json"),
    "a whole object": (
        {"4XX": {"description": "No", "content": {"text/plain": {"schema": {}}}}},
        "4XX",
        "No",
        "text/plain",
    ),
    "a model in an object": ({404: {"model": Small, "description": "No"}}, "404", "No", "application/json"),
    "the default": ({"default": {"model": Small}}, "default", "default", "application/json"),
}


@pytest.mark.parametrize(("declared", "code", "words", "kind"), RESPONSES.values(), ids=RESPONSES.keys())
def test_responses_are_declared_in_words_by_type_or_in_full(declared, code, words, kind):
    def handler() -> Small: ...

    found = answered(handler, responses=declared)["responses"]
    assert found[code]["description"] == words
    assert set(found[code]["content"]) == {kind}
    assert ("200" in found) is (code != "201")


def test_a_declared_status_without_content_has_none():
    assert answered(lambda: {"a": 1}, responses={304: None})["responses"]["304"] == {"description": "Not Modified"}


def test_streams_and_unknown_answers():
    def lines() -> Iterator[str]:
        yield "a"

    def anything(request): ...

    assert set(answered(lines)["responses"]["200"]["content"]) == {"application/octet-stream"}
    found = answered(anything)["responses"]
    assert found["200"] == {"description": "OK"}
    assert found["default"] == {"description": "Whatever else the handler answers."}


def test_headers_that_openapi_has_other_places_for_are_left_out():
    def handler(
        accept: str = Header(""), authorization: str = Header(""), x_a: int = Header(1), X_A: int = Header(2)
    ): ...

    assert [found["name"] for found in answered(handler)["parameters"]] == ["x-a"]


def test_paths_are_written_as_clients_send_them():
    app = App()
    app.get("/café/{name}.json")(lambda name: {})
    assert list(valid(app)["paths"]) == ["/caf%C3%A9/{name}.json"]


def test_converters_and_annotations_of_path_parameters_work_together():
    app = App()

    @app.get("/a/{n:int}/{f:float}/{u:uuid}/{r:regex([a-c]+)}/{s}/{e}/{d}")
    def handler(n, s, e: Colour, d: Annotated[str, Path(max_length=3, description="Three.")]): ...

    found = {each["name"]: each for each in valid(app)["paths"]["/a/{n}/{f}/{u}/{r}/{s}/{e}/{d}"]["get"]["parameters"]}
    assert found["n"]["schema"] == {"type": "integer", "minimum": 0}
    assert found["f"]["schema"] == {"type": "number", "minimum": 0}
    assert found["u"]["schema"] == {"type": "string", "format": "uuid"}
    assert found["r"]["schema"] == {"type": "string", "pattern": "^(?:[a-c]+)$"}
    assert found["s"]["schema"] == {"type": "string", "minLength": 1}
    assert found["e"]["schema"] == {"$ref": "#/components/schemas/Colour"}
    assert found["d"] == {
        "name": "d",
        "in": "path",
        "required": True,
        "description": "Three.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 3},
    }


def test_two_routes_that_openapi_cannot_tell_apart_are_both_there():
    app = App()
    app.get("/u/{id:int}", name="by_id")(lambda id: {})
    app.get("/u/{id}", name="by_name")(lambda id: {})
    paths = valid(app)["paths"]
    assert {path: item["get"]["operationId"] for path, item in paths.items()} == {
        "/u/{id}": "by_id",
        "/u/{id_2}": "by_name",
    }
    assert paths["/u/{id_2}"]["get"]["parameters"][0]["name"] == "id_2"


def test_one_handler_on_several_paths_has_an_id_for_each():
    app = App()

    def handler(): ...

    for path in ("/", "/a", "/b"):
        app.get(path)(handler)
    ids = [item["get"]["operationId"] for item in valid(app)["paths"].values()]
    assert ids == ["handler_get_root", "handler_get_a", "handler_get_b"]


def test_methods_that_openapi_does_not_know_and_mounts_are_noted_or_left_out():
    app = App()
    app.route("/x", methods=["PURGE", "GET"])(lambda: {"a": 1})
    app.mount("/old", lambda environ, start_response: [], "wsgi")
    app.websocket("/socket")(lambda ws: None)
    document = valid(app)
    assert list(document["paths"]) == ["/x"]
    assert list(document["paths"]["/x"]) == ["get"]
    assert document["x-mounts"] == ["/old"]


def test_a_model_given_as_an_option_is_the_body():
    app = App()
    app.post("/x", body=Small)(lambda request: {})
    assert valid(app)["paths"]["/x"]["post"]["requestBody"] == {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Small"}}},
        "required": True,
    }


def test_bodies_of_a_handler_and_of_its_dependency_are_both_there():
    def whole(item: NewItem): ...

    def handler(item: Annotated[None, Depends(whole)], small: Small, extra: int = Body(embed=True)): ...

    app = App()
    app.post("/x")(handler)
    schema = valid(app)["paths"]["/x"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["allOf"][0] == {"$ref": "#/components/schemas/NewItem"}
    assert set(schema["allOf"][1]["properties"]) == {"small", "extra"}


def test_a_raw_body_is_octets_and_a_list_has_bounds_of_its_own():
    app = App()
    app.post("/raw")(raw)
    app.get("/list")(listing)
    paths = valid(app)["paths"]
    assert set(paths["/raw"]["post"]["requestBody"]["content"]) == {"application/octet-stream"}
    assert paths["/list"]["get"]["parameters"][0]["schema"] == {
        "type": "array",
        "items": {"type": "integer", "minimum": 1},
        "minItems": 1,
    }


def raw(data: bytes = Body()): ...


def listing(n: list[int] = Query(ge=1, min_length=1)): ...


def test_servers_and_further_information_are_passed_on():
    app = App()
    app.enable_openapi(servers=["https://a.example", {"url": "https://b.example"}], info={"contact": {"name": "Ada"}})
    document = valid(app)
    assert [server["url"] for server in document["servers"]] == ["https://a.example", "https://b.example"]
    assert document["info"]["contact"] == {"name": "Ada"}


@pytest.mark.parametrize("argument", ["title", "version"])
def test_what_cannot_be_a_name_is_refused(argument):
    with pytest.raises(ConfigError, match=f"{argument} must be a string"):
        App().enable_openapi(**{argument: 1})


def test_the_document_is_served_with_a_tag_and_made_once(serve, monkeypatch):
    made = []
    from cello.features import openapi

    make = openapi.make_document
    monkeypatch.setattr(openapi, "make_document", lambda *args: made.append(args) or make(*args))
    with serve(shop.make_app()) as client:
        first = client.get("/openapi.json")
        assert (first.status, first.headers["content-type"]) == (200, "application/json")
        again = client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status, again.content) == (304, b"")
    assert len(made) == 1


def test_its_guards_are_asked_and_those_of_the_application_are_not(serve):
    app = App()
    app.add_guard(lambda request: False)
    app.enable_openapi(guards=[lambda request: request.get_header("x-key") == "k"])
    with serve(app) as client:
        for path in ("/openapi.json", "/docs", "/redoc", "/docs/assets/swagger-ui.css"):
            assert client.get(path).status == 403
            assert client.get(path, headers={"X-Key": "k"}).status == 200


def test_a_mounted_application_names_its_place():
    outer, inner = App(), App()
    inner.enable_openapi()
    outer.mount("/inner", inner, "asgi")
    with TestClient(outer, gateway="asgi") as client:
        assert client.get("/inner/openapi.json").json()["servers"] == [{"url": "/inner"}]


def test_the_command_writes_the_document(tmp_path, capsys):
    target = f"{shop.__file__}:app"
    assert main(["openapi", target, "--output", str(tmp_path / "api.json")]) == 0
    written = json.loads((tmp_path / "api.json").read_text(encoding="utf-8"))
    assert written["info"]["title"] == "Shop"
    assert main(["openapi", target]) == 0
    assert json.loads(capsys.readouterr().out) == written
    assert main(["openapi", target, "-o", str(tmp_path / "no" / "api.json")]) == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_an_application_that_does_not_serve_it_can_still_write_it():
    app = App()
    bp = Blueprint("/a", name="letters")
    bp.get("/b")(lambda: Response.json({}))
    app.register_blueprint(bp)
    assert list(valid(app)["paths"]) == ["/a/b"]


def test_the_members_of_a_model_of_parameters_are_parameters():
    @dataclasses.dataclass
    class Filters:
        words: list[str]
        limit: Annotated[int, Query(ge=1, description="How many.")] = 10

    def handler(filters: Filters = Query()): ...

    assert answered(handler)["parameters"] == [
        {
            "name": "words",
            "in": "query",
            "required": True,
            "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        {"name": "limit", "in": "query", "description": "How many.", "schema": {"type": "integer", "minimum": 1}},
    ]
