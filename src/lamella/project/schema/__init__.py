"""The settings table: every table and key of ``lamella.toml`` as declarative rows.

The rows feed the checker, the decoder, the hints for misspelt keys, the JSON schema and the reference page.
"""
