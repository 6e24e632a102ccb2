"""What a message costs through cello, beside the bare client library: `python -m bench.messaging`."""
