"""What a statement costs through cello, beside the bare driver's own pool and SQLAlchemy's: `python -m bench.data`."""
