"""What every test process starts with."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and programs inherit it: the ones that tests interrupt, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
