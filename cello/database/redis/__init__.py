"""Redis, by redis-py: a server, or a cluster."""
