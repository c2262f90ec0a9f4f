"""The one record that says what is built and how. Both steps take their command lines, environment and state
from it.
"""

from __future__ import annotations

import posixpath

from lamella.canonical import EMPTY_MAP, FrozenMap, digest_value
from lamella.graph.op import Command
from lamella.stacks.base import SRC
from lamella.stacks.cargo.tomltext import toml_value
from lamella.values import dataclass, field

__all__ = ["CARGO_HOME", "TARGET", "CargoSelection", "split_flags"]

TARGET = "/lamella/target"
"""Where every step of every engine finds the target directory."""

CARGO_HOME = "/lamella/cargo"
"""Where every step finds Cargo's home; the path is in the fingerprint of every third-party unit."""

_CARGO_FLAGS = {"--config": 1, "-Z": 1, "--ignore-rust-version": 0, "--keep-going": 0}
"""Options of ``cargo build`` that ``flags`` may hold, with the number of their values; all others are rustc's."""

_PROFILE_DIRECTORIES = {"dev": "debug", "test": "debug", "bench": "release"}

_BARE_LINKERS = ("mold", "lld", "wild", "gold", "bfd")
"""Linkers that the C compiler runs; anything else is the program that rustc runs to link."""


@dataclass(frozen=True, slots=True)
class CargoSelection:
    """What is built, and everything that decides how third-party packages are compiled.

    ``directory`` is where Cargo is started, relative to the project. ``config_key`` is the configuration key
    that takes the compiler's flags. ``env`` is the whole environment.
    """

    directory: str
    package: str
    binary: str
    features: tuple[str, ...] = ()
    default_features: bool = True
    profile: str = "dev"
    target: str = ""
    rustc_flags: tuple[str, ...] = ()
    cargo_flags: tuple[str, ...] = ()
    config_key: str = "build.rustflags"
    env: FrozenMap[str, str] = field(default=EMPTY_MAP)

    @property
    def output(self) -> str:
        """Absolute path of the finished binary (Cargo book, "Build Cache": ``target/[triple/]PROFILE/BIN``)."""
        profile = _PROFILE_DIRECTORIES.get(self.profile, self.profile)
        triple = posixpath.basename(self.target).removesuffix(".json")
        return posixpath.join(TARGET, triple, profile, self.binary)

    @property
    def places(self) -> tuple[str, ...]:
        """Arguments that name profile and target, as every Cargo command of a step takes them."""
        return ("--profile", self.profile, *(("--target", self.target) if self.target else ()))

    @property
    def configuration(self) -> tuple[str, ...]:
        """Arguments that hand flags over without hiding those of the project's configuration files."""
        if not self.rustc_flags:
            return self.cargo_flags
        return ("--config", f"{self.config_key}={toml_value(self.rustc_flags)}", *self.cargo_flags)

    def build(self, package: str, binary: str, *, with_features: bool, capture: str) -> Command:
        """``cargo build`` of one binary, offline and with the lock as it is; messages go to ``capture``."""
        features: tuple[str, ...] = ()
        if with_features:
            features = ("--features", ",".join(self.features)) if self.features else ()
            features += () if self.default_features else ("--no-default-features",)
        argv = ("cargo", "build", "--locked", "--offline", "--message-format=json-render-diagnostics")
        what = ("--package", package, "--bin", binary)
        return self.command((*argv, *what, *features, *self.places, *self.configuration), capture=capture)

    def command(
        self, argv: tuple[str, ...], *, network: bool = False, capture: str = "", unless: tuple[str, ...] = ()
    ) -> Command:
        """A command that runs where Cargo is started: configuration and toolchain files are found from there."""
        return Command(argv, network, posixpath.join(SRC, self.directory), capture, unless)

    def state_id(self, project: str, rootfs: str, vendored: str) -> str:
        """Names the target directory: equal for all that may share one. Features and package are told apart by
        Cargo.

        ``vendored`` is the digest of registries in the project: Cargo goes by their packages' versions alone.
        """
        shared = (self.profile, self.target, self.rustc_flags, self.cargo_flags, self.config_key, self.env)
        return f"cargo-target {digest_value((project, rootfs, vendored, *shared))}"


def split_flags(flags: tuple[str, ...], linker: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``flags`` and ``linker`` of a layer as (flags of rustc, flags of Cargo)."""
    rustc: list[str] = []
    cargo: list[str] = []
    rest = list(flags)
    while rest:
        flag = rest.pop(0)
        name = "-Z" if flag.startswith("-Zbuild-std") else flag.split("=", 1)[0]
        if name in _CARGO_FLAGS and not (name == "-Z" and not _is_cargo_feature(flag, rest)):
            cargo.append(flag)
            cargo += [rest.pop(0) for _ in range(_CARGO_FLAGS[name]) if rest and flag == name]
        else:
            rustc.append(flag)
    if linker in _BARE_LINKERS:
        rustc.append(f"-Clink-arg=-fuse-ld={linker}")
    elif linker:
        rustc.append(f"-Clinker={linker}")
    return tuple(rustc), tuple(cargo)


def _is_cargo_feature(flag: str, rest: list[str]) -> bool:
    """``-Z build-std`` is Cargo's; every other ``-Z`` is the compiler's."""
    value = flag[2:] or (rest[0] if rest else "")
    return value.startswith("build-std")
