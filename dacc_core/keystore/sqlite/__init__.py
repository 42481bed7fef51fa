"""The embedded keystore: one SQLite file."""
