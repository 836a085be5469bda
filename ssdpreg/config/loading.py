"""The configuration file ``registry.json``: find, load and parse it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeGuard

import attrs

from ssdpreg.config.consul_address import with_scheme
from ssdpreg.config.environment import VARIABLES, consul_environment
from ssdpreg.config.json_input import decode_json, read_file
from ssdpreg.config.model import Config, ConsulConfig
from ssdpreg.config.reader import read
from ssdpreg.errors import ConfigError, Fault


def load(path: str, environ: Mapping[str, str] = os.environ) -> Config:
    """
    Load a configuration file, with defaults from Consul's environment variables.

    :raise ConfigError: With every fault of the file and of the variables.
    """
    return parse(read_file(path), environ)


def find(environ: Mapping[str, str] = os.environ) -> str:
    """
    Return the path of the configuration file to be used if the command line names none.

    :param environ: Provides ``HOME``.
    :raise ConfigError: If there is no file at any of the default paths.
    """
    home = environ.get("HOME")
    paths = [
        "registry.json",
        *([os.path.join(home, "registry.json")] if home else []),
        "/etc/ssdpreg/registry.json",
        "/etc/infranm.d/registry.json",
    ]
    for path in paths:
        if os.path.exists(path):
            return path
    raise ConfigError(Fault("", f"no configuration file found: none of {', '.join(paths)} exists"))


def parse(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """
    Parse the text of a configuration file.

    :param text: JSON.
    :param environ: Provides Consul's variables, which are the defaults of keys in the ``backend`` section.
    :raise ConfigError: With every fault: those of the file in its order, then those of the variables.
    """
    raw = decode_json(text)
    if not isinstance(raw, dict) or not _is_consul(backend := raw.get("backend", {})):
        return read(raw, Config)
    environment = consul_environment(environ or {}, backend)
    raw = {**raw, "backend": with_scheme({**backend, **environment.values})}
    faults = environment.faults
    try:
        config = read(raw, Config)
    except ConfigError as error:
        names = {f"backend.{key}": VARIABLES[key] for key in environment.values if key in VARIABLES}
        faults = (*(Fault(names.get(fault.path, fault.path), fault.problem) for fault in error.faults), *faults)
    if faults:
        raise ConfigError(*faults)
    assert isinstance(config.backend, ConsulConfig)
    return attrs.evolve(config, backend=attrs.evolve(config.backend, verify_tls=environment.verify_tls))


def _is_consul(backend: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(backend, dict) and backend.get("type", "consul") == "consul"
