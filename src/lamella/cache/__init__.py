"""The cache repository: records, states and base facts of a team in a registry (DESIGN 3b, 7b.7)."""
