"""The switches of message brokers: `enable_rabbitmq`, and those of further brokers, on one class (switch.py)."""
