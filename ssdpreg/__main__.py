"""``python -m ssdpreg``: the same as ``ssdpreg``."""

from ssdpreg.cli import main

raise SystemExit(main())
