"""Layers: deterministic tar writer, hostile-proof reader, compression, scans, wheels, placement and base facts."""
