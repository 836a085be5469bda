"""JSON Schema of the configuration, made from its classes: what editors complete and underline by."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

import attrs

from ssdpreg.config.structure import (
    destructure,
    fields,
    is_annotated,
    is_choice,
    is_list,
    is_literal,
    is_mapping,
    is_rest,
    type_names,
)
from ssdpreg.config.values import Kind

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: A field's part of a docstring: all up to the next field, or the end.
_FIELD = re.compile(r"^:ivar (\w+): (.*?)(?=^:|\Z)", re.MULTILINE | re.DOTALL)


def json_schema(cls: type) -> dict[str, Any]:
    """
    Describe a class, and all that is in it.

    :param cls: An attrs class whose docstring says what its fields mean.
    """
    return {"$schema": _DIALECT, **_schema(cls)}


def _schema(kind: Any) -> dict[str, Any]:
    arguments = get_args(kind)
    if attrs.has(kind):
        return _class_schema(kind)
    if kind is bool:
        return {"type": "boolean"}
    if is_annotated(kind):
        inner, mark = arguments
        if isinstance(mark, Kind):
            return dict(mark.schema)
        return {**_schema(inner), "minItems" if is_list(inner) else "minProperties": 1}
    if is_literal(kind):
        return {"enum": list(arguments)}
    if is_list(kind):
        return {"type": "array", "items": _schema(arguments[0])}
    if is_mapping(kind):
        return {
            "type": "object",
            "propertyNames": _schema(arguments[0]),
            "additionalProperties": _schema(arguments[1]),
        }
    if is_choice(kind):
        return _choice_schema(arguments)
    # What is left is the optional: a kind, or None.
    return {"anyOf": [_schema(arguments[0]), {"type": "null"}]}


def _class_schema(cls: type) -> dict[str, Any]:
    documentation = inspect.getdoc(cls) or ""
    meanings = {name: _plain(meaning) for name, meaning in _FIELD.findall(documentation)}
    properties = {}
    for field in fields(cls):
        if not is_rest(field):
            properties[field.name] = {**_schema(field.type), "description": meanings.get(field.name, "")}
            if field.default is not attrs.NOTHING and not isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
                properties[field.name]["default"] = destructure(field.default)
    return {
        "type": "object",
        "description": _plain(documentation.partition("\n\n")[0]),
        "properties": properties,
        "required": [field.name for field in fields(cls) if field.default is attrs.NOTHING and not is_rest(field)],
        "additionalProperties": any(map(is_rest, fields(cls))),
    }


def _choice_schema(classes: tuple[type, ...]) -> dict[str, Any]:
    schemas = [_class_schema(cls) for cls in classes]
    # Only the first may go without a name.
    for schema in schemas[1:]:
        schema["required"] = sorted({"type", *schema["required"]})
    named = [name for cls in classes for name in type_names(cls)]
    schemas[-1]["properties"]["type"]["not"] = {"enum": named}
    return {"anyOf": schemas}


def _plain(documentation: str) -> str:
    return " ".join(documentation.replace("``", '"').split())
