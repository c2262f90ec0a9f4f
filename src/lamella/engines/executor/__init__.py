"""The executor: makes vertices that only hold files, in-process, for both engines."""
