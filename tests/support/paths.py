"""Folders of the project."""

from __future__ import annotations

from pathlib import Path

#: The top of the project.
ROOT = Path(__file__).parents[2]
#: Files that tests read.
DATA = ROOT / "tests" / "data"
