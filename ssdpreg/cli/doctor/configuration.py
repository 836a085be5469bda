"""Check of the configuration."""

from __future__ import annotations

import os

import attrs

from ssdpreg import config as configuration
from ssdpreg.backends import find_backend
from ssdpreg.cli.doctor.findings import Finding, HostCheck
from ssdpreg.config import Config, ConsulConfig, SSDPConfig
from ssdpreg.errors import ConfigError

_CONFIGURATION = HostCheck("configuration")


@attrs.frozen
class ReadConfiguration:
    """
    Result of reading the configuration.

    :ivar config: The configuration, or the defaults if it cannot be used.
    :ivar findings: Its faults.
    :ivar usable: Whether it is the configuration of the file.
    """

    config: Config
    findings: tuple[Finding, ...]
    usable: bool


def read_configuration(path: str | None, address: str | None) -> ReadConfiguration:
    """
    Read the configuration, and report all of its faults.

    :param path: Configuration file; None for the file that the daemon would read.
    :param address: Address of Consul from the command line, or None.
    :raise ConfigError: If the address is invalid, which is a fault of usage.
    """
    defaults = _defaults().with_consul(address)
    try:
        path = path or configuration.find()
    except ConfigError as error:
        advice = "Create one: ssdpreg search --write-config registry.json. The other checks use the defaults"
        return ReadConfiguration(defaults, (_CONFIGURATION.fault("", str(error), advice),), usable=False)
    try:
        config = configuration.load(path)
        find_backend(config.backend.type)
    except ConfigError as error:
        advice = f"Correct it, and run: ssdpreg check-config {path}. The other checks use the defaults"
        return ReadConfiguration(
            defaults,
            tuple(
                _CONFIGURATION.fault(fault.path, fault.problem, advice if fault is error.faults[-1] else "")
                for fault in error.faults
            ),
            usable=False,
        )
    config = config.with_consul(address)
    terms = len(config.search_terms())
    summary = f"{terms} search term{'' if terms == 1 else 's'}, {_describe_backend(config)}"
    return ReadConfiguration(config, (_CONFIGURATION.ok("", f"{path}: {summary}"),), usable=True)


def _defaults() -> Config:
    """Return a configuration without search terms, and with Consul as its environment variables describe it."""
    empty = Config(ssdp=SSDPConfig(tags={}))
    try:
        with_consul = configuration.parse('{"ssdp": {"tags": {"any": ["urn:a:service:b:1"]}}}', os.environ)
    except ConfigError:
        return empty
    return attrs.evolve(with_consul, ssdp=empty.ssdp)


def _describe_backend(config: Config) -> str:
    backend = config.backend
    if isinstance(backend, ConsulConfig):
        return f"Consul at {backend.address} ({backend.mode} mode)"
    return f"backend {backend.type}"
