"""Lamella: layered container images for Rust, Python and JavaScript projects, keyed by meaning."""

__version__ = "0.1.0"
