"""From TOML text to a :class:`cloister.model.snapshot.Snapshot`, with every error at once."""
