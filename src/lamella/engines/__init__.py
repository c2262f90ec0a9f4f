"""Engines run a Definition: ``local`` is embedded and daemonless; ``buildkit`` comes with the next capability."""
