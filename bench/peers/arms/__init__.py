"""The arms themselves; only a worker process imports them, by the names in the tables."""
