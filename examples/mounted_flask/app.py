"""Moving over piece by piece: a Flask application goes on as it is, below /shop, and what is new is cello's.

    pip install flask
    python examples/mounted_flask/app.py

Both are one process under one server, and every switch surrounds both: requests of the old pages have ids and a line in
the log too. Under uvicorn or gunicorn it is the same.
"""

from legacy import app as legacy

from cello import App, Response

app = App()
app.enable_logging()
app.enable_request_id()
app.mount("/shop", legacy)


@app.get("/")
def index():
    return Response.redirect("/shop/")


@app.get("/api/prices/{item}")
async def price(item: str):
    return {"item": item, "price": len(item) * 100}


if __name__ == "__main__":
    app.run()
