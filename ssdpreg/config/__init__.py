"""Configuration: ``registry.json`` and environment variables, read into frozen values or reported with every fault."""

from ssdpreg.config.loading import find, load, parse
from ssdpreg.config.model import (
    CheckConfig,
    Config,
    ConsulConfig,
    EmbeddedConfig,
    LimitsConfig,
    PluginBackendConfig,
    SearchConfig,
    SSDPConfig,
    WebConfig,
    normalised,
    schema,
)

__all__ = [
    "CheckConfig",
    "Config",
    "ConsulConfig",
    "EmbeddedConfig",
    "LimitsConfig",
    "PluginBackendConfig",
    "SSDPConfig",
    "SearchConfig",
    "WebConfig",
    "find",
    "load",
    "normalised",
    "parse",
    "schema",
]
