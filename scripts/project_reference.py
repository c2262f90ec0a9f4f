"""Write docs/reference/lamella-toml.md and lamella.schema.json from the settings table.

Usage: python scripts/project_reference.py
"""

from __future__ import annotations

import json
from pathlib import Path

from lamella.project.schema.json_schema import json_schema
from lamella.project.schema.reference import reference_page

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def main() -> None:
    REFERENCE.joinpath("lamella-toml.md").write_text(reference_page(), encoding="utf-8")
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    REFERENCE.joinpath("lamella.schema.json").write_text(f"{schema}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
