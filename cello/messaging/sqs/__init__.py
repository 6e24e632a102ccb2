"""SQS, by aiobotocore.

config.py        what users may say           subscription.py  one consumer's messages
client.py        how aiobotocore is set up    batches.py       single requests, sent ten at a time
records.py       SQS' messages ↔ messages     broker.py        sending; opens the others
"""
