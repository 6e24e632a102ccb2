"""The tables of an event store, in three dialects.

    {p}events            the records
    {p}events_archive    the oldest ones, moved there
    {p}event_streams     a row for each aggregate: its version, the lock of its writers
    {p}event_head        one row: the last position, the lock of all writers (see sql.py)
    {p}event_snapshots   the newest snapshot of each aggregate
    {p}projections       how far each projection has come

Data, metadata and snapshots are text, exactly as written. Names compare byte by byte, also on MySQL.

On SQLite, whose writers wait for each other anyway, an append writes {p}events alone: version and position are the
highest there. {p}event_streams and {p}event_head are what is remembered of those that were archived or deleted, so that
none is ever given twice; a trigger keeps them. (Files in which every append has raised them read the same.)
"""

_TYPES = {
    "sqlite": {"big": "INTEGER", "name": "TEXT", "id": "TEXT", "text": "TEXT", "end": ""},
    "postgresql": {
        "big": "BIGINT",
        "name": 'VARCHAR(255) COLLATE "C"',
        "id": 'VARCHAR(128) COLLATE "C"',
        "text": "TEXT",
        "end": "",
    },
    "mysql": {
        "big": "BIGINT",
        "name": "VARCHAR(255)",
        "id": "VARCHAR(128)",
        "text": "LONGTEXT",
        "end": " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    },
}
_RECORD = (
    "position {big} NOT NULL PRIMARY KEY, aggregate_id {name} NOT NULL, version {big} NOT NULL, "
    "event_id {id} NOT NULL, event_type {name} NOT NULL, schema_version {big} NOT NULL, data {text} NOT NULL, "
    "metadata {text} NOT NULL, created_ms {big} NOT NULL, UNIQUE (aggregate_id, version), UNIQUE (event_id)"
)
_TABLES = {
    "events": _RECORD,
    "events_archive": _RECORD,
    "event_streams": "aggregate_id {name} NOT NULL PRIMARY KEY, version {big} NOT NULL",
    "event_head": "id {big} NOT NULL PRIMARY KEY, position {big} NOT NULL",
    "event_snapshots": (
        "aggregate_id {name} NOT NULL PRIMARY KEY, version {big} NOT NULL, schema_version {big} NOT NULL, "
        "state {text} NOT NULL, taken_ms {big} NOT NULL"
    ),
    "projections": (
        "name {name} NOT NULL PRIMARY KEY, position {big} NOT NULL, generation {big} NOT NULL, "
        "is_fresh {big} NOT NULL, fault {text}, epoch {big} NOT NULL, updated_ms {big} NOT NULL"
    ),
}
_REMEMBERED = """
CREATE TRIGGER IF NOT EXISTS {p}events_remembered AFTER DELETE ON {p}events BEGIN
    UPDATE {p}event_head SET position = max(position, OLD.position) WHERE id = 1;
    INSERT INTO {p}event_streams (aggregate_id, version) VALUES (OLD.aggregate_id, OLD.version)
        ON CONFLICT (aggregate_id) DO UPDATE SET version = max(version, excluded.version);
END
"""


def statements_for(kind: str, prefix: str) -> list[str]:
    """Return what makes the tables of a store in a database of `kind`."""
    types = _TYPES[kind]
    made = [
        f"CREATE TABLE IF NOT EXISTS {prefix}{name} ({columns.format(**types)}){types['end']}"
        for name, columns in _TABLES.items()
    ]
    ignore = "INSERT IGNORE INTO" if kind == "mysql" else "INSERT INTO"
    end = "" if kind == "mysql" else " ON CONFLICT DO NOTHING"
    made.append(f"{ignore} {prefix}event_head VALUES (1, 0){end}")
    if kind == "sqlite":
        made.append(_REMEMBERED.format(p=prefix))
    return made
