"""Helpers of the tests for :mod:`ssdpreg.config`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ssdpreg.config import ConsulConfig, parse
from ssdpreg.errors import ConfigError
from tests.support import paths

DATA = paths.DATA / "config"

API = "urn:schemas-upnp-org:service:api:2.0"
#: The smallest valid ``ssdp`` section.
TAGS: Mapping[str, Any] = {"tags": {"RackHD": [API]}}

#: A file with all keys that can be set together.
FULL: Any = json.loads((DATA / "full.json").read_text(encoding="utf-8"))


class ConfigTestCase(SynchronousTestCase):
    """Methods that parse a section, and return its value or its faults."""

    def assert_faults(self, raw: object, *faults: str, environ: Mapping[str, str] | None = None) -> None:
        """
        Assert that a file has exactly these faults.

        :param raw: The text of the file, or its JSON before encoding.
        """
        text = raw if isinstance(raw, str) else json.dumps(raw)
        error = self.assertRaises(ConfigError, parse, text, environ)
        self.assertEqual([str(fault) for fault in error.faults], list(faults))

    def consul(self, backend: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> ConsulConfig:
        """Parse a valid ``backend`` section for Consul."""
        config = parse(json.dumps({"ssdp": TAGS, "backend": backend}), environ)
        assert isinstance(config.backend, ConsulConfig)
        return config.backend

    def backend_fault(self, backend: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> str:
        """Return the only fault of a ``backend`` section."""
        text = json.dumps({"ssdp": TAGS, "backend": backend})
        error = self.assertRaises(ConfigError, parse, text, environ)
        [fault] = error.faults
        return str(fault)

    def ssdp_faults(self, **ssdp: Any) -> list[str]:
        """Return the faults of an ``ssdp`` section, which has valid tags unless others are given."""
        error = self.assertRaises(ConfigError, parse, json.dumps({"ssdp": {**TAGS, **ssdp}}))
        return [str(fault) for fault in error.faults]


def schema_keys(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the JSON Schema of each key. Arbitrary keys of a mapping appear as ``URN``."""
    for part in schema.get("anyOf", ()):
        yield from schema_keys(part, path)
    for name, inner in schema.get("properties", {}).items():
        below = list(schema_keys(inner, f"{path}.{name}".lstrip(".")))
        if inner["description"]:
            yield from below or [(f"{path}.{name}".lstrip("."), inner)]
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from schema_keys(inner, f"{path}.URN")
