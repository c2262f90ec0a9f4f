"""The build graph as values: ops, vertices, definitions, keys, file sets, records, facts, events.

Nothing here does I/O. What pure code reads from outside comes through ``graph.protocols``.
"""
