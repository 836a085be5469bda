"""
Frozen classes as the description of a file: read, described in JSON Schema, serialized and compared.

A class of the configuration is an attrs class. Its annotations have these forms:

- ``bool``; ``Literal["a", "b"]``; ``Annotated[T, ScalarKind(...)]`` for all other single values;
- ``T | None``; ``tuple[T, ...]`` for a list; ``Mapping[K, V]`` for an object with arbitrary keys;
- ``Annotated[T, NOT_EMPTY]`` for a list or mapping that must not be empty;
- another such class; or a union of them, which the key ``type`` tells apart. The last of them accepts any other type.

The descriptions of a class and its keys come from its docstring. A static method ``find_faults`` of the class, a
:data:`ssdpreg.config.objects.Rule`, finds the faults between several keys.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs

from ssdpreg.config.faults import FaultCollector, format_path, quote
from ssdpreg.config.kinds import Kind, ListKind, LiteralKind, MappingKind, OptionalKind, ScalarKind
from ssdpreg.config.objects import NO_DEFAULT, ChoiceKind, Key, ObjectKind

_T = TypeVar("_T")

#: Metadata of an attribute that no key of the file sets.
NOT_IN_FILE: Mapping[str, bool] = {"in_file": False}
#: Metadata of the attribute that receives all keys which are not known.
OTHER_KEYS: Mapping[str, bool] = {"other_keys": True}

#: Annotation of a list or mapping that must not be empty.
NOT_EMPTY = object()

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The description of an attribute in a docstring. It ends at the next field or at the end of the docstring.
_ATTRIBUTE = re.compile(r"^:ivar (\w+): (.*?)(?=^:|\Z)", re.MULTILINE | re.DOTALL)


def read(raw: object, cls: type[_T]) -> _T:
    """
    Convert decoded JSON into an instance of a class.

    :param raw: JSON from :func:`ssdpreg.config.json_input.decode_json`.
    :raise ConfigError: With every fault, in the order of the file.
    """
    faults = FaultCollector()
    value = _object_kind(cls).read(raw, (), faults)
    faults.raise_if_any(raw)
    return cast(_T, value)


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON Schema of the files from which a class can be read."""
    return {"$schema": _DIALECT, **_object_kind(cls).schema()}


def serialize(value: object) -> dict[str, Any]:
    """Convert an instance of a class into JSON, with all defaults filled in and secrets hidden."""
    return cast(dict[str, Any], _object_kind(type(value)).serialize(value))


def changed_paths(before: _T, after: _T) -> list[str]:
    """Return the paths of the keys in which two instances of a class differ, such as ``ssdp.search.interval``."""
    return [format_path(path) for path in _object_kind(type(before)).changes(before, after, ())]


def _object_kind(cls: type) -> ObjectKind:
    summary, descriptions = _descriptions(cls)
    attributes = [field for field in attrs.fields(attrs.resolve_types(cls)) if field.metadata.get("in_file", True)]
    others = [field.name for field in attributes if field.metadata.get("other_keys", False)]
    return ObjectKind(
        cls,
        summary,
        {field.name: _key(field, descriptions) for field in attributes if field.name not in others},
        rule=getattr(cls, "find_faults", None),
        other_keys=others[0] if others else None,
    )


def _key(field: attrs.Attribute[Any], descriptions: Mapping[str, str]) -> Key:
    required = field.default is attrs.NOTHING
    # Only sections have factories. The JSON Schema of a section contains the defaults of its keys.
    computed = isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]
    return Key(
        field.name,
        _kind(field.type),
        descriptions.get(field.name, ""),
        required,
        NO_DEFAULT if required or computed else field.default,
        secret=not field.repr,
    )


def _descriptions(cls: type) -> tuple[str, dict[str, str]]:
    """Return the summary of a class and the descriptions of its attributes, both without markup."""
    documentation = inspect.getdoc(cls) or ""
    attributes = {name: _plain_text(text) for name, text in _ATTRIBUTE.findall(documentation)}
    return _plain_text(documentation.partition("\n\n")[0]), attributes


def _plain_text(documentation: str) -> str:
    return " ".join(documentation.replace("``", '"').split())


def _kind(annotation: Any) -> Kind:
    """Return the kind of an annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if attrs.has(annotation):
        return _object_kind(annotation)
    if annotation is bool:
        return ScalarKind(_parse_boolean, {"type": "boolean"})
    if origin is Annotated:
        return _annotated_kind(*arguments)
    if origin is Literal:
        return LiteralKind(arguments)
    if origin is tuple:
        return ListKind(_kind(arguments[0]))
    if origin is Mapping:
        return MappingKind(_kind(arguments[0]), _kind(arguments[1]))
    if origin in (Union, UnionType):
        if arguments[1:] == (type(None),):
            return OptionalKind(_kind(arguments[0]))
        return _choice_kind(*map(_object_kind, arguments))
    raise TypeError(f"{annotation!r} is not a supported annotation")


def _annotated_kind(inner: Any, mark: object) -> Kind:
    if isinstance(mark, Kind):
        return mark
    kind = _kind(inner)
    if mark is not NOT_EMPTY or not isinstance(kind, (ListKind, MappingKind)):
        raise TypeError(f"{mark!r} is not a known mark of {inner!r}")
    return replace(kind, not_empty=True)


def _choice_kind(*kinds: ObjectKind) -> ChoiceKind:
    *named, fallback = kinds
    types = {kind: kind.keys["type"].kind for kind in named}
    choices = {name: kind for kind, names in types.items() if isinstance(names, LiteralKind) for name in names.options}
    return ChoiceKind(choices, fallback)


def _parse_boolean(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{quote(raw)} is not true or false")
    return raw
