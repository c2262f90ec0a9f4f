"""The embedded engine: solver, step runner, sandbox (Linux only; imported when the local engine is chosen)."""
