"""Kafka, by aiokafka.

config.py        what users may say           offsets.py       up to where a partition may be committed
client.py        how aiokafka is set up       subscription.py  one consumer's share of a topic
records.py       records ↔ messages           broker.py        sending; opens the others
transaction.py   several messages or none
"""
