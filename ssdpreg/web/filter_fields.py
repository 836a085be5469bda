"""
Fields of the catalogue that Consul's filter expressions can select. Pure.

The names and their operators are those of Consul 1.8, which differ from one endpoint to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from ssdpreg.web import consul_json
from ssdpreg.web.catalogue import Entry
from ssdpreg.web.filter_syntax import (
    EQUAL,
    IN,
    IS_EMPTY,
    IS_NOT_EMPTY,
    MATCHES,
    NOT_EQUAL,
    NOT_IN,
    NOT_MATCHES,
    FilterError,
    quote,
)

#: Operators of each kind of field.
TEXT = frozenset({EQUAL, NOT_EQUAL, IN, NOT_IN, MATCHES, NOT_MATCHES})
#: Also of truth values.
NUMBER = frozenset({EQUAL, NOT_EQUAL})
#: Tags, or a mapping, of which ``in`` finds the keys.
COLLECTION = frozenset({IN, NOT_IN, IS_EMPTY, IS_NOT_EMPTY})
LIST = frozenset({IS_EMPTY, IS_NOT_EMPTY})
STRUCT: frozenset[str] = frozenset()

#: Name of a field that stands for every key of a mapping.
ANY_KEY = "*"


class Candidate:
    """
    An entry while an expression is evaluated. Mappings that are made from an advertisement are made once.

    :ivar entry: The entry.
    :ivar registration: Its registration.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry, self.registration = entry, entry.registration

    @cached_property
    def meta(self) -> Mapping[str, str]:
        """Meta of the service."""
        return self.registration.meta

    @cached_property
    def node_meta(self) -> Mapping[str, str]:
        """Meta of the node."""
        return consul_json.node_meta(self.entry)


@dataclass(frozen=True, slots=True)
class Field:
    """
    A part of a selector.

    :ivar type: Type of its value: ``str``, ``int`` or ``bool``. A value to compare with is converted to it.
    :ivar operators: Operators that can be applied to it.
    :ivar get: Returns its value for a candidate and the last part of the selector, or None for a key that is missing.
    :ivar fields: Its own fields by name.
    :ivar repeated: Whether it is a field of a list that is empty for every entry. No comparison with it is true.
    """

    type: type
    operators: frozenset[str]
    get: Callable[[Candidate, str], Any]
    fields: Mapping[str, Field] = field(default_factory=dict)
    repeated: bool = False


Fields: TypeAlias = Mapping[str, Field]


def find_field(fields: Fields, selector: Sequence[str]) -> Field:
    """
    Return the field that a selector names.

    :raise FilterError: If there is none.
    """
    found: Field | None = None
    for number, part in enumerate(selector, 1):
        found = fields.get(part) or fields.get(ANY_KEY)
        if found is None:
            raise FilterError(f"Selector {quote('.'.join(selector[:number]))} is not valid")
        fields = found.fields
    assert found is not None
    return found


def _text(get: Callable[[Candidate], str]) -> Field:
    return Field(str, TEXT, lambda each, _: get(each))


def _constant(value: str | int | bool) -> Field:
    operators = TEXT if isinstance(value, str) else NUMBER
    return Field(type(value), operators, lambda each, _: value)


def _mapping(get: Callable[[Candidate], Mapping[str, str]]) -> Field:
    value = Field(str, TEXT, lambda each, key: get(each).get(key))
    return Field(str, COLLECTION, lambda each, _: get(each), {ANY_KEY: value})


def _struct(fields: Fields) -> Field:
    return Field(str, STRUCT, lambda each, _: None, fields)


def _tags() -> Field:
    return Field(str, COLLECTION, lambda each, _: each.registration.tags)


def _empty_list(**types: type) -> Field:
    fields = {
        name: Field(value, TEXT if value is str else NUMBER, lambda each, _: None, repeated=True)
        for name, value in types.items()
    }
    return Field(str, LIST, lambda each, _: (), fields)


def _service_addresses() -> Field:
    missing = {
        "Address": Field(str, TEXT, lambda each, _: None),
        "Port": Field(int, NUMBER, lambda each, _: None),
    }
    return Field(str, COLLECTION, lambda each, _: {}, {ANY_KEY: _struct(missing)})


def _proxy() -> Field:
    mode = _struct({"Mode": _constant("")})
    upstreams = _empty_list(
        DestinationType=str,
        DestinationNamespace=str,
        DestinationName=str,
        Datacenter=str,
        LocalBindAddress=str,
        LocalBindPort=int,
    )
    paths = _empty_list(ListenerPort=int, Path=str, LocalPathPort=int, Protocol=str, ParsedFromCheck=bool)
    return _struct(
        {
            "DestinationServiceName": _constant(""),
            "DestinationServiceID": _constant(""),
            "LocalServiceAddress": _constant(""),
            "LocalServicePort": _constant(0),
            "MeshGateway": mode,
            "Upstreams": upstreams,
            "Expose": _struct({"Checks": _constant(False), "Paths": paths}),
        }
    )


def _node(datacenter: str, meta: str) -> Fields:
    return {
        "ID": _constant(""),
        "Node": _text(lambda each: each.entry.node),
        "Address": _text(lambda each: each.registration.address),
        "Datacenter": _constant(datacenter),
        "TaggedAddresses": _mapping(lambda each: {}),
        meta: _mapping(lambda each: each.node_meta),
    }


def _service(prefix: str = "") -> dict[str, Field]:
    return {
        f"{prefix}Kind": _constant(""),
        f"{prefix}ID": _text(lambda each: each.registration.service_id),
        f"{prefix}Tags": _tags(),
        f"{prefix}Address": _text(lambda each: each.registration.address),
        f"{prefix}TaggedAddresses": _service_addresses(),
        f"{prefix}Meta": _mapping(lambda each: each.meta),
        f"{prefix}Port": Field(int, NUMBER, lambda each, _: each.registration.port),
        f"{prefix}Weights": _struct({"Passing": _constant(1), "Warning": _constant(1)}),
        f"{prefix}EnableTagOverride": _constant(False),
        f"{prefix}Proxy": _proxy(),
        f"{prefix}Connect": _struct({"Native": _constant(False)}),
    }


def node_fields(datacenter: str) -> Fields:
    """Return the fields of ``/v1/catalog/nodes``."""
    return _node(datacenter, "Meta")


def service_fields(datacenter: str) -> Fields:
    """Return the fields of ``/v1/catalog/node/ID``, a service without its node."""
    return {**_service(), "Service": _text(lambda each: each.registration.name)}


def service_node_fields(datacenter: str) -> Fields:
    """Return the fields of ``/v1/catalog/service/NAME``, a service together with its node."""
    return {
        **_node(datacenter, "NodeMeta"),
        **_service("Service"),
        "ServiceName": _text(lambda each: each.registration.name),
    }


def check_fields(datacenter: str) -> Fields:
    """Return the fields of ``/v1/health/node/ID``, ``/v1/health/checks/NAME`` and ``/v1/health/state/STATE``."""
    return {
        "Node": _text(lambda each: each.entry.node),
        "CheckID": _text(lambda each: consul_json.check_id(each.entry)),
        "Name": _constant(consul_json.CHECK_NAME),
        "Status": _constant(consul_json.CHECK_STATUS),
        "Notes": _constant(""),
        "Output": _constant(""),
        "ServiceID": _text(lambda each: each.registration.service_id),
        "ServiceName": _text(lambda each: each.registration.name),
        "ServiceTags": _tags(),
        "Type": _constant(""),
    }


def health_service_fields(datacenter: str) -> Fields:
    """Return the fields of ``/v1/health/service/NAME``. Each entry has one check."""
    checks = Field(str, LIST, lambda each, _: (each,), check_fields(datacenter))
    return {
        "Node": _struct(node_fields(datacenter)),
        "Service": _struct(service_fields(datacenter)),
        "Checks": checks,
    }
