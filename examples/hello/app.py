"""One application, three uses: its own server, any WSGI server, any ASGI server.

python examples/hello/app.py
gunicorn --chdir examples/hello app:app
uvicorn --app-dir examples/hello app:app
"""

from cello import App

app = App()


@app.get("/")
def index():
    return {"try": app.url_for("hello", name="you")}


@app.get("/hello/{name}")
async def hello(name: str):
    return {"hello": name}


if __name__ == "__main__":
    app.run()
