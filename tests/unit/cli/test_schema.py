"""Tests for :mod:`ssdpreg.cli.schema`."""

from __future__ import annotations

import json

from ssdpreg import config
from tests.support.command import CommandTestCase


class SchemaTests(CommandTestCase):
    """Tests for ``ssdpreg schema``."""

    def test_schema(self) -> None:
        """The JSON Schema of the configuration is printed."""
        status, stdout, stderr = self.run_command("schema")
        self.assertEqual((status, stderr, json.loads(stdout)), (0, "", config.schema()))
