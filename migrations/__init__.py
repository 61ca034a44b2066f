"""Alembic's scripts; `abplatform.storage.migrate` runs them, from a checkout and from an installed package alike."""
