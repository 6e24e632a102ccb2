"""The statements of an event store, in three dialects."""

from cello.database.lease import now_ms
from cello.eventsourcing.journal import PAGE
from cello.eventsourcing.sql_tables import statements_for

_COLUMNS = "position, aggregate_id, version, event_id, event_type, schema_version, data, metadata, created_ms"

# One statement, so that no trip to the server happens while the lock of the head is held. $3 is the version expected,
# $4 the highest version that leaves room. The row of the stream comes first, since the head is joined with it.
_APPEND = """
WITH stream AS (
    INSERT INTO {p}event_streams AS held (aggregate_id, version)
    SELECT $1::text, $2::bigint
    WHERE ($3::bigint IS NULL OR $3 = 0 OR EXISTS (SELECT 1 FROM {p}event_streams WHERE aggregate_id = $1))
        AND ($4::bigint IS NULL OR $4 >= 0)
    ON CONFLICT (aggregate_id) DO UPDATE SET version = held.version + $2
    WHERE ($3 IS NULL OR held.version = $3) AND ($4 IS NULL OR held.version <= $4)
    RETURNING version
), head AS (
    UPDATE {p}event_head SET position = position + $2 FROM stream WHERE id = 1 RETURNING position
), inserted AS (
    INSERT INTO {p}events
    SELECT head.position - $2 + each.number, $1, stream.version - $2 + each.number, each.event_id, each.event_type,
        each.schema_version, each.data, each.metadata, each.created_ms
    FROM stream, head, unnest($5::text[], $6::text[], $7::bigint[], $8::text[], $9::text[], $10::bigint[])
        WITH ORDINALITY AS each(event_id, event_type, schema_version, data, metadata, created_ms, number)
)
SELECT stream.version, head.position FROM stream, head
"""


class Texts:
    """The statements, each as an attribute.

    Args:
        kind: "sqlite", "postgresql" or "mysql".
        prefix: What the names of the tables begin with.
    """

    def __init__(self, kind: str, prefix: str) -> None:
        p, is_mysql, is_sqlite = prefix, kind == "mysql", kind == "sqlite"
        now = now_ms(kind)
        later = "max" if is_sqlite else "greatest"
        self.tables = statements_for(kind, prefix)

        self.append = _APPEND.format(p=p)
        # MySQL and MariaDB
        self.begin_stream = f"INSERT INTO {p}event_streams (aggregate_id, version) VALUES ($1, $2)"
        self.raise_or_begin_stream = f"{self.begin_stream} ON DUPLICATE KEY UPDATE version = version + $2"
        self.raise_stream = (
            f"UPDATE {p}event_streams SET version = version + $2 WHERE aggregate_id = $1 AND version = $3"
        )
        self.raise_head = f"UPDATE {p}event_head SET position = position + $1 WHERE id = 1"

        self.version = f"SELECT version FROM {p}event_streams WHERE aggregate_id = $1"
        self.head = f"SELECT position FROM {p}event_head WHERE id = 1"
        if is_sqlite:  # what those rows remember, and what is there (see sql_tables.py)
            newest = f"SELECT max(version) FROM {p}events WHERE aggregate_id = $1"
            self.version = f"SELECT max(ifnull(({newest}), 0), ifnull(({self.version}), 0))"
            self.head = f"SELECT max(ifnull((SELECT max(position) FROM {p}events), 0), ({self.head}))"
        self.last = f"SELECT ({self.head}), ({self.version})"
        self.lock = f"DELETE FROM {p}event_head WHERE id = 0"
        self.insert = f"INSERT INTO {p}events ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        self.place = (
            f"SELECT aggregate_id, version FROM {p}events WHERE event_id = $1 "
            f"UNION ALL SELECT aggregate_id, version FROM {p}events_archive WHERE event_id = $1"
        )

        stream = "WHERE aggregate_id = $1 AND version > $2 ORDER BY version LIMIT $3"
        self.stream = f"SELECT {_COLUMNS} FROM {p}events {stream}"
        self.stream_archive = f"SELECT {_COLUMNS} FROM {p}events_archive {stream}"
        # The newest snapshot, as a record at position 0, and the records after it.
        self.load = (
            f"SELECT 0 AS position, aggregate_id, version, '' AS event_id, '' AS event_type, schema_version, "
            f"state AS data, '' AS metadata, taken_ms AS created_ms FROM {p}event_snapshots WHERE aggregate_id = $1 "
            f"UNION ALL SELECT * FROM (SELECT {_COLUMNS} FROM {p}events WHERE aggregate_id = $1 AND version > "
            f"coalesce((SELECT version FROM {p}event_snapshots WHERE aggregate_id = $1), 0) "
            f"ORDER BY version LIMIT {PAGE}) AS tail ORDER BY version, position"
        )
        feed = "WHERE position > $1 ORDER BY position LIMIT $2"
        self.feed = f"SELECT {_COLUMNS} FROM {p}events {feed}"
        self.feed_archive = f"SELECT {_COLUMNS} FROM {p}events_archive {feed}"

        self.get_snapshot = (
            f"SELECT version, schema_version, state, taken_ms FROM {p}event_snapshots WHERE aggregate_id = $1"
        )
        self.save_snapshot = self._save_snapshot(p, is_mysql=is_mysql)

        self.first = f"SELECT min(position) FROM {p}events"
        self.first_young = f"SELECT min(position) FROM {p}events WHERE created_ms >= $1"
        self.copy_to_archive = (
            f"INSERT INTO {p}events_archive ({_COLUMNS}) SELECT {_COLUMNS} FROM {p}events WHERE position < $1"
        )
        self.delete_archived = f"DELETE FROM {p}events WHERE position < $1"
        self.last_archived = f"SELECT max(position) FROM {p}events_archive"

        self.checkpoint = (
            f"SELECT position, generation, is_fresh, fault, updated_ms FROM {p}projections WHERE name = $1"
        )
        ignore, end = ("INSERT IGNORE", "") if is_mysql else ("INSERT", " ON CONFLICT DO NOTHING")
        self.begin_checkpoint = (
            f"{ignore} INTO {p}projections (name, position, generation, is_fresh, epoch, updated_ms) "
            f"VALUES ($1, 0, 0, 0, 0, {now}){end}"
        )
        self.advance = (
            f"UPDATE {p}projections SET position = $1, is_fresh = $2, fault = $3, "
            f"updated_ms = {later}(updated_ms + 1, {now}) "
            f"WHERE name = $4 AND epoch = $5 AND generation = $6"
        )  # updated_ms always grows, as MySQL counts only rows that changed
        self.take = f"UPDATE {p}projections SET epoch = $2, updated_ms = updated_ms + 1 WHERE name = $1 AND epoch <= $2"
        self.rewind = (
            f"UPDATE {p}projections SET position = 0, generation = generation + 1, is_fresh = 1, fault = NULL, "
            f"updated_ms = {now} WHERE name = $1"
        )

    @staticmethod
    def _save_snapshot(p: str, *, is_mysql: bool) -> str:
        insert = (
            f"INSERT INTO {p}event_snapshots (aggregate_id, version, schema_version, state, taken_ms) "
            "VALUES ($1, $2, $3, $4, $5)"
        )
        columns = ("state", "taken_ms", "version", "schema_version")
        if is_mysql:  # assignments are made in order: what the condition reads is changed last
            newer = "(version <= VALUES(version) OR schema_version <> VALUES(schema_version))"
            sets = ", ".join(f"{name} = IF({newer}, VALUES({name}), {name})" for name in columns)
            return f"{insert} ON DUPLICATE KEY UPDATE {sets}"
        sets = ", ".join(f"{name} = excluded.{name}" for name in columns)
        return (
            f"{insert} ON CONFLICT (aggregate_id) DO UPDATE SET {sets} "
            f"WHERE {p}event_snapshots.version <= excluded.version "
            f"OR {p}event_snapshots.schema_version <> excluded.schema_version"
        )
