"""The command line: the only reader of argv and environment, the only catcher, the only exit."""
