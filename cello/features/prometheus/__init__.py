"""Metrics for Prometheus.

feature     the switch: the endpoint, and what happens when a worker starts
recorder    counting requests; compiled a second time
exposition  the two text formats
foreign     the application's own metrics, made with prometheus-client
"""
