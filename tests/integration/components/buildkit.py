"""buildkitd without Docker: one node on a socket, and a pair of nodes behind mutual TLS in networks of their own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.integration.components.certificates import Authority, host_bundle
from tests.integration.components.daemons import registry_config, unmount_below
from tests.integration.components.emulation import emulate_arm64
from tests.integration.components.installed import GO, find_component
from tests.integration.components.presence import find_program
from tests.integration.components.processes import (
    Bridge,
    DaemonError,
    Running,
    end,
    run_command,
    spawn,
    wait_until_ready,
)

NODE_PORT = 1234
REGISTRY_PORT = 5443


def start_buildkitd(folder: Path) -> Running:
    """One node on a socket, steps in this machine's network; info: ``address``, ``log``.

    A registry at 127.0.0.1 is spoken to in plain HTTP (its resolver's rule for loopback).
    """
    address = f"unix://{folder}/b.sock"
    argv = _node(folder, _node_config())
    process = spawn([*argv, "--addr", address], folder / "log")

    def stop() -> None:
        end(process)
        unmount_below(folder)

    try:
        wait_until_ready(process, lambda: _answers(folder / "b.sock"), folder / "log")
    except DaemonError:
        stop()
        raise
    return Running({"address": address, "log": f"{folder}/log"}, stop)


def start_pair(folder: Path) -> Running:
    """Two nodes, linux/amd64 and linux/arm64 (emulated), and the TLS registry that both and their client reach.

    info: ``amd64`` and ``arm64`` (tcp addresses), ``registry`` (host:port), ``certificates`` (a folder with ca.pem,
    client.pem, client.key and bundle.pem: the host's authorities and this one).
    Every node lives in a network namespace with two ways out: a link to a bridge of this machine, where the
    registry listens, and slirp4netns(1) to the world, which leaves the host's routes and packet filter alone.
    """
    with contextlib.ExitStack() as undo:
        undo.enter_context(emulate_arm64())
        bridge = Bridge.create(folder)
        undo.callback(bridge.remove)
        run_command("ip", "link", "set", bridge.name, "up")
        authority = Authority.create(folder / "certificates")
        (folder / "certificates/bundle.pem").write_bytes(host_bundle() + authority.certificate.read_bytes())
        authority.issue("client")
        registry = f"{bridge.address(1)}:{REGISTRY_PORT}"
        undo.callback(_start_tls_registry(folder / "registry", registry, authority))
        info = {"registry": registry, "certificates": str(authority.folder)}
        for host, architecture in ((2, "amd64"), (3, "arm64")):
            config = _node_config(registry, authority.certificate, architecture)
            address, stop = _start_node(folder / architecture, bridge, host, authority, config)
            undo.callback(stop)
            info[architecture] = address
        return Running(info, undo.pop_all().close)
    raise AssertionError("unreachable")


def _start_tls_registry(folder: Path, address: str, authority: Authority) -> Callable[[], None]:
    folder.mkdir()
    host, _, port = address.partition(":")
    certificate, key = authority.issue("registry", host)
    http = {"addr": address, "tls": {"certificate": str(certificate), "key": str(key)}}
    process = spawn(["docker-registry", "serve", str(registry_config(folder, http))], folder / "log")
    wait_until_ready(process, lambda: _listens(host, int(port)), folder / "log")
    return lambda: end(process)


def _start_node(
    folder: Path, bridge: Bridge, host: int, authority: Authority, config: str
) -> tuple[str, Callable[[], None]]:
    """One node in a network namespace that lives as long as its holder; gives its address and what ends it."""
    folder.mkdir()
    ip = bridge.address(host)
    with contextlib.ExitStack() as undo:
        holder = spawn(["unshare", "--net", "sleep", "infinity"], folder / "holder.log")
        undo.callback(end, holder)
        _wait_for_namespace(holder, folder / "holder.log")
        inside = _link(bridge, holder.pid, ip, f"{bridge.name}{host}")
        outlet = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", str(holder.pid), "tap0"]
        undo.callback(end, spawn(outlet, folder / "slirp.log"))
        certificate, key = authority.issue(f"node{host}", ip)
        argv = [*inside, *_node(folder, config), "--addr", f"tcp://{ip}:{NODE_PORT}"]
        argv += ["--tlscacert", str(authority.certificate), "--tlscert", str(certificate), "--tlskey", str(key)]
        process = spawn(argv, folder / "log")
        undo.callback(unmount_below, folder)
        undo.callback(end, process)
        wait_until_ready(process, lambda: _listens(ip, NODE_PORT), folder / "log")
        return f"tcp://{ip}:{NODE_PORT}", undo.pop_all().close
    raise AssertionError("unreachable")


def _wait_for_namespace(holder: subprocess.Popen[bytes], log: Path) -> None:
    ours = os.readlink("/proc/self/ns/net")
    wait_until_ready(holder, lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours, log)


def _link(bridge: Bridge, process: int, ip: str, name: str) -> list[str]:
    """Connect a process's network to the bridge; gives the argv that runs a program in there."""
    run_command("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    run_command("ip", "link", "set", name, "master", bridge.name, "up")
    inside = ["nsenter", f"--net=/proc/{process}/ns/net"]
    for words in (
        ("addr", "add", f"{ip}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "lo", "up"),
    ):
        run_command(*inside, find_program("ip") or "ip", *words)
    return inside


def _node(folder: Path, config: str) -> list[str]:
    component = find_component(GO)
    if component is None:
        raise DaemonError("component go is not there")
    (folder / "buildkitd.toml").write_text(config, encoding="utf-8")
    return [str(component / "bin/buildkitd"), "--root", f"{folder}/data", "--config", f"{folder}/buildkitd.toml"]


def _node_config(registry: str = "", certificate: Path | None = None, architecture: str = "") -> str:
    """buildkitd.toml: overlay snapshots, runc, the network of the process, nothing collected while tests run."""
    lines = ["[worker.oci]", "gc = false", 'snapshotter = "overlayfs"', 'networkMode = "host"']
    lines += [f"binary = {json.dumps(find_program('runc') or 'runc')}"]
    if architecture:
        lines += [f'platforms = ["linux/{architecture}"]']
        lines += ["[dns]", 'nameservers = ["10.0.2.3"]']  # slirp4netns's own, which asks the host's
    lines += ["[worker.containerd]", "enabled = false"]
    if registry:
        lines += [f'[registry."{registry}"]', f"ca = [{json.dumps(str(certificate))}]"]
    return "\n".join([*lines, ""])


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return True
    return False


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False
