"""Shipped fakes and builders of test input: real behaviour in memory, for tests only."""
