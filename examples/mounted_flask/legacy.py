"""The application that is there already: Flask, with pages, forms and a session. It knows nothing of cello."""

from flask import Flask, redirect, request, session, url_for

app = Flask(__name__)
app.secret_key = "for this example alone"


@app.get("/")
def basket():
    lines = "".join(f"<li>{item}</li>" for item in session.get("basket", []))
    return f"""<!doctype html><title>Basket</title><h1>Basket</h1><ul>{lines}</ul>
<form method="post" action="{url_for("add")}"><input name="item" required> <button>Add</button></form>"""


@app.post("/add")
def add():
    item = request.form["item"].replace("<", "&lt;")
    session["basket"] = [*session.get("basket", []), item]
    return redirect(url_for("basket"))
