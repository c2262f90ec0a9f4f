"""The step runner with a session's options."""

from __future__ import annotations

from lamella.api.options import SessionOptions, open_store
from lamella.canonical import FrozenMap
from lamella.engines.local.runner import LocalRunner
from lamella.engines.local.values import RunnerSettings
from lamella.process import base_env
from lamella.store.store import Store

__all__ = ["PROXIES", "make_runner", "probe_sandbox"]

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""What commands that have the network get of the caller's environment; in no key."""


def make_runner(store: Store, options: SessionOptions, memory: int = 0) -> LocalRunner:
    """A runner over a store; ``memory`` in bytes bounds each step, 0 is no bound. Its helper starts when needed."""
    settings = RunnerSettings(
        env=options.environ,
        step_env=FrozenMap(base_env(options.environ, PROXIES)),
        ca_bundle=options.ca_bundle,
        memory=memory,
        snapshot_mirror=options.snapshot_mirror,
    )
    return LocalRunner(store, settings)


def probe_sandbox(options: SessionOptions) -> None:
    """Starts the sandbox once; raises SandboxError with reason and remedy."""
    with open_store(options) as store:
        runner = make_runner(store, options)
        try:
            runner.probe()
        finally:
            runner.close()
