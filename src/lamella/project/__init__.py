"""Room 3: ``lamella.toml`` and ``lamella.lock`` as values."""
