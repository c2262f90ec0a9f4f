from __future__ import annotations

from lamella.sources.git import version_key


def test_tags_sort_as_versions() -> None:
    tags = ["v1.10.0", "v1.9.0", "v1.10.0-rc.2", "v1.10.0-rc.10", "app-v2.0", "latest", "v1.10.0+build", "v1.9"]
    assert sorted(tags, key=version_key) == [
        "latest", "v1.9", "v1.9.0", "v1.10.0-rc.2", "v1.10.0-rc.10", "v1.10.0", "v1.10.0+build", "app-v2.0",
    ]  # fmt: skip
