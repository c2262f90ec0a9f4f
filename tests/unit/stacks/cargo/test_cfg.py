"""Conditions of dependency tables, decided or left open."""

from __future__ import annotations

import pytest

from lamella.stacks.cargo.cfg import decide, target_of

LINUX = target_of("", "linux/amd64")
MUSL = target_of("aarch64-unknown-linux-musl", "linux/amd64")


@pytest.mark.parametrize(
    ("condition", "linux", "musl"),
    [
        ("", True, True),
        ("cfg(unix)", True, True),
        ("cfg(windows)", False, False),
        ("cfg(not(windows))", True, True),
        ('cfg(target_os = "linux")', True, True),
        ('cfg(target_os = "macos")', False, False),
        ('cfg(target_arch = "x86_64")', True, False),
        ('cfg(target_arch = "aarch64")', False, True),
        ('cfg(target_pointer_width = "64")', True, True),
        ('cfg(target_env = "musl")', None, True),
        ('cfg(all(unix, target_env = "gnu"))', None, False),
        ('cfg(all(windows, target_env = "gnu"))', False, False),
        ('cfg(any(unix, target_env = "gnu"))', True, True),
        ('cfg(any(windows, target_feature = "avx"))', None, None),
        ("cfg(all())", True, True),
        ("cfg(any())", False, False),
        ("cfg(tokio_unstable)", None, None),
        ("cfg(not(tokio_unstable))", None, None),
        ('cfg(all(any(target_os = "linux", target_os = "android"), not(target_arch = "wasm32")))', True, True),
        ("aarch64-unknown-linux-musl", False, True),
        ("x86_64-unknown-linux-gnu", None, False),
        ("x86_64-pc-windows-msvc", False, False),
        ("cfg(target_os = )", None, None),
        ("cfg(all(unix)", None, None),
    ],
)
def test_what_a_condition_says(condition: str, linux: bool | None, musl: bool | None) -> None:
    assert decide(condition, LINUX) is linux
    assert decide(condition, MUSL) is musl
