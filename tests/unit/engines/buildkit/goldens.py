"""What each level is given for one phase, as texts in ``tests/golden/buildkit``. As a program it writes them anew.

python -m tests.unit.engines.buildkit.goldens
"""

from __future__ import annotations

import json
from pathlib import Path

from lamella.engines.buildkit.lower import lower, short_key
from lamella.engines.buildkit.phase import LowerOptions
from tests.unit.engines.buildkit.sample import LEVELS, Sample, two_steps

GOLDEN = Path(__file__).parents[3] / "golden" / "buildkit"


WRITTEN = ("L0", "L1")
"""Levels whose texts are kept; the others need the same as L1."""


def level_texts(name: str) -> dict[str, str]:
    """Relative path to text: Dockerfile and bake file of a level, and the scripts, which no level changes."""
    sample = two_steps()
    lowered = lower(sample.phase, LEVELS[name], LowerOptions(allow_network=True))
    folder = name if name in WRITTEN else "L1"
    texts = {f"{folder}/Dockerfile": lowered.dockerfile, f"{folder}/bake.json": _bake_text(lowered.bake)}
    for path, data in lowered.files.items():
        texts[f"scripts/{_people_name(sample, path)}.sh"] = data.decode()
    return texts


def _people_name(sample: Sample, path: str) -> str:
    names = {short_key(key): vertex.info.name for key, vertex in sample.phase.definition.vertices.items()}
    name = path.removeprefix("scripts/")
    return names.get(name, name)


def _bake_text(bake: object) -> str:
    """The bake file, with the Dockerfile where it is said once already."""
    text = json.loads(json.dumps(bake))
    for target in text["target"].values():
        target["dockerfile-inline"] = "(Dockerfile)"
    return json.dumps(text, indent=2) + "\n"


if __name__ == "__main__":
    for level in WRITTEN:
        for name, text in level_texts(level).items():
            path = GOLDEN / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
