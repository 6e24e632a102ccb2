"""RabbitMQ, on aio-pika: config.py says where, link.py connects, broker.py sends, subscription.py consumes."""
