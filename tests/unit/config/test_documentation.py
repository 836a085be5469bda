"""Tests for ``docs/configuration.md``."""

from __future__ import annotations

import json
import re
from typing import Any

from ssdpreg.config import Config, parse, schema
from ssdpreg.config.environment import VARIABLES
from tests.support import paths
from tests.unit.config.support import ConfigTestCase, schema_keys

DOCUMENTATION = (paths.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


class DocumentationTests(ConfigTestCase):
    """The documentation agrees with the code."""

    def test_keys_and_defaults(self) -> None:
        """The tables list every key with its default, and no other key."""
        rows = re.findall(r"^\| `([a-z][\w.]*URN[\w.]*|[a-z][\w.]*)` \| (?:`(.*?)`)? *\|", DOCUMENTATION, re.MULTILINE)
        documented = {key: json.loads(default) if default else None for key, default in rows}
        known: dict[str, Any] = {}
        for key, described in schema_keys(schema()):
            known.setdefault(key, described.get("default"))
        self.assertEqual(documented, known)

    def test_variables(self) -> None:
        """The table of variables lists every variable with its key."""
        rows = dict(re.findall(r"^\| `(CONSUL_\w+)` \| `?([\w ]+)", DOCUMENTATION, re.MULTILINE))
        known = {name: key for key, name in VARIABLES.items()}
        self.assertEqual(rows, {**known, "CONSUL_HTTP_SSL": "scheme", "CONSUL_HTTP_SSL_VERIFY": "no key"})

    def test_examples(self) -> None:
        """Every example is a valid configuration."""
        examples = re.findall(r"^```json\n(.*?)^```", DOCUMENTATION, re.MULTILINE | re.DOTALL)
        self.assertEqual([type(parse(example)) for example in examples], [Config] * 4)

    def test_faults(self) -> None:
        """The faults in the example of ``check-config`` have the texts that the program prints."""
        [console] = re.findall(r"^```console\n\$ ssdpreg check-config .*?\n(.*?)^```", DOCUMENTATION, re.M | re.S)
        faulty = {
            "ssdp": {"tags": {"RackHD": ["urn:a"]}, "search": {"mx": 3.5, "intervall": 300}},
            "backend": {"on_stop": "delete"},
        }
        self.assert_faults(faulty, *console.splitlines())
