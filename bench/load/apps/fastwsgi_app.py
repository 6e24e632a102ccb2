"""fastwsgi (C, libuv) under the bare WSGI callable."""

import fastwsgi
from shared_routes import PORT
from shared_wsgi import app

if __name__ == "__main__":
    fastwsgi.run(wsgi_app=app, host="127.0.0.1", port=PORT)
