"""Calls the demo application through a client that was generated from its document."""

import json
import sys

from demo_client import Client
from demo_client.api.notes import add_note, get_note, list_notes, remove_note
from demo_client.models import NewNote

client = Client(base_url=sys.argv[1])
made = add_note.sync(client=client, body=NewNote(title="Bow", text="rosin", tags=["care"]))
read = get_note.sync(client=client, id=made.id)
titles = [note.title for note in list_notes.sync(client=client, q="rosin", limit=5)]
refused = remove_note.sync_detailed(client=client, id=made.id)
faulty = list_notes.sync(client=client, limit=0)
print(json.dumps([read.tags, titles, refused.status_code, faulty.title]))
