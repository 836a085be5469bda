"""``python -m ssdpreg``: the ``ssdpreg`` command."""

from ssdpreg.cli.main import main

raise SystemExit(main())
