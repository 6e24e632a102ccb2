"""What things are called here that other frameworks call otherwise: for the messages that somebody gets who tries."""

from cello.errors import closest

_BY_OTHER_NAMES = {
    "add_middleware": "app.use(middleware), an object with before(request) or after(request, response); an ASGI "
    "middleware goes around the application: served = Middleware(app)",
    "include_router": "app.register_blueprint(blueprint)",
    "errorhandler": "@app.exception_handler(404), or of an exception's class",
    "register_error_handler": "@app.exception_handler(404), or of an exception's class",
    "add_exception_handler": "@app.exception_handler(404), or of an exception's class",
    "add_url_rule": "app.add_route(path, handler, methods=[…])",
    "add_api_route": "app.add_route(path, handler, methods=[…])",
    "api_route": "@app.route(path, methods=[…])",
    "websocket_route": "@app.websocket(path)",
    "add_event_handler": "@app.on_event('startup')",
    "on_startup": "@app.on_event('startup')",
    "on_shutdown": "@app.on_event('shutdown')",
    "before_first_request": "@app.on_event('startup')",
    "teardown_request": "@app.after_request, or a dependency with a yield",
    "teardown_appcontext": "@app.after_request, or a dependency with a yield",
    "test_client": "cello.testing.TestClient(app)",
    "config": "app.state for your own values; settings are arguments of app.enable_…() and app.set_…()",
    "jinja_env": "app.enable_templates('templates'), then app.render(name, context)",
    "wsgi_app": "app.wsgi",
    "listen": "app.run(host=…, port=…)",
    "serve": "app.run(host=…, port=…)",
    "start": "app.run(host=…, port=…)",
    "cors": "app.enable_cors([…])",
    "socketio": "@app.websocket(path)",
}


def unknown_attribute(name: str, known: list[str]) -> str:
    """Return what to say to who asked an App for `name`, which it does not have."""
    said = f"'App' object has no attribute {name!r}"
    if name.startswith("_"):
        return said
    instead = _BY_OTHER_NAMES.get(name)
    if instead is None:
        close = closest(name, [other for other in known if not other.startswith("_")])
        instead = close and f"app.{close}"
    return f"{said}; use {instead}" if instead else said
