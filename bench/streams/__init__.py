"""What a message costs through cello, beside the bare clients of Kafka and SQS: `python -m bench.streams`."""
