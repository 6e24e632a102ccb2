"""The version, in its one place: the packaging metadata reads it from here."""

__version__ = "0.1.0"
