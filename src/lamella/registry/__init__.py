"""Registries, layouts and archives: pulling and pushing; nothing is believed that was not verified."""
