"""``python -m ssdpreg``: the same as ``ssdpreg``."""

from ssdpreg.cli.main import main

raise SystemExit(main())
