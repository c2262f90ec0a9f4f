"""What well-known crates need of the system: Debian packages to build with, and to run with.

The crates are found in the lock. A table can only know the common ones; the rest is listed by the user (``apt``
of a toolchain layer). Package names are those of Debian 12 and 13 (a renamed one provides its old name).
"""

from __future__ import annotations

from collections.abc import Iterable

from lamella.stacks.cargo.lockfile import LockedPackage
from lamella.values import dataclass

__all__ = ["NativeNeeds", "native_needs"]

_BUILD_AND_RUN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "alsa-sys": (("libasound2-dev",), ("libasound2",)),
    "aws-lc-sys": (("cmake", "make", "g++"), ()),
    "bindgen": (("libclang-dev", "clang"), ()),
    "cmake": (("cmake", "make", "g++"), ()),
    "cxx": (("g++",), ()),
    "expat-sys": (("libexpat1-dev",), ("libexpat1",)),
    "fontconfig-sys": (("libfontconfig-dev",), ("libfontconfig1",)),
    "glib-sys": (("libglib2.0-dev",), ("libglib2.0-0",)),
    "gstreamer-sys": (("libgstreamer1.0-dev",), ("libgstreamer1.0-0",)),
    "gtk-sys": (("libgtk-3-dev",), ("libgtk-3-0",)),
    "gtk4-sys": (("libgtk-4-dev",), ("libgtk-4-1",)),
    "libdbus-sys": (("libdbus-1-dev",), ("libdbus-1-3",)),
    "libpulse-sys": (("libpulse-dev",), ("libpulse0",)),
    "librocksdb-sys": (("libclang-dev", "clang", "g++"), ()),
    "libseccomp-sys": (("libseccomp-dev",), ("libseccomp2",)),
    "libsystemd-sys": (("libsystemd-dev",), ("libsystemd0",)),
    "libudev-sys": (("libudev-dev",), ("libudev1",)),
    "link-cplusplus": (("g++",), ()),
    "mysqlclient-sys": (("default-libmysqlclient-dev",), ("libmariadb3",)),
    "nasm-rs": (("nasm",), ()),
    "openblas-src": (("make", "gfortran"), ()),
    "openssl-sys": (("libssl-dev",), ("libssl3",)),
    "pq-sys": (("libpq-dev",), ("libpq5",)),
    "prost-build": (("protobuf-compiler", "libprotobuf-dev"), ()),
    "rdkafka-sys": (("make", "g++", "zlib1g-dev"), ()),
    "tikv-jemalloc-sys": (("make",), ()),
    "webkit2gtk-sys": (("libwebkit2gtk-4.1-dev",), ("libwebkit2gtk-4.1-0",)),
    "x11": (("libx11-dev",), ("libx11-6",)),
    "yeslogic-fontconfig-sys": (("libfontconfig-dev",), ("libfontconfig1",)),
    "zmq-sys": (("libzmq3-dev",), ("libzmq5",)),
}
"""By crate: packages for the build, packages at run time."""

_TLS = ("rustls-native-certs", "openssl-probe", "native-tls", "openssl-sys")
"""Crates that read the system's certificates."""


@dataclass(frozen=True, slots=True)
class NativeNeeds:
    """Debian packages; ``why`` maps each to the crates that ask for it."""

    build: tuple[str, ...]
    run: tuple[str, ...]
    why: tuple[tuple[str, tuple[str, ...]], ...] = ()


def native_needs(locked: Iterable[LockedPackage]) -> NativeNeeds:
    """What the crates of a lock need of the system, as far as the table knows them."""
    build: dict[str, list[str]] = {}
    run: dict[str, list[str]] = {}
    for entry in locked:
        for name in _BUILD_AND_RUN.get(entry.name, ((), ()))[0]:
            build.setdefault(name, []).append(entry.name)
        for name in _BUILD_AND_RUN.get(entry.name, ((), ()))[1]:
            run.setdefault(name, []).append(entry.name)
        if entry.name in _TLS:
            run.setdefault("ca-certificates", []).append(entry.name)
        if entry.name == "libsqlite3-sys" and not any(text.split(" ")[0] == "cc" for text in entry.dependencies):
            build.setdefault("libsqlite3-dev", []).append(entry.name)
            run.setdefault("libsqlite3-0", []).append(entry.name)
    why = tuple(sorted((name, tuple(sorted(set(crates)))) for name, crates in {**build, **run}.items()))
    return NativeNeeds(tuple(sorted(build)), tuple(sorted(run)), why)
