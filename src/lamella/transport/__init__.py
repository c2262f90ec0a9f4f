"""Transport: HTTP with time limits, retries, resumption and redaction, on urllib3."""
