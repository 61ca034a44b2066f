"""Definitions and what was decided about them, in SQLite or PostgreSQL; takes and returns domain objects."""
