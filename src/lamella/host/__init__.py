"""The host: kernel locks, rooted paths, probes."""
