"""
Kinds of values in a configuration file.

Each kind reads decoded JSON, describes itself in JSON Schema, serializes a value back into JSON, and compares two
values. :mod:`ssdpreg.config.reader` makes kinds from type annotations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from ssdpreg.config.faults import FaultCollector, Path, RelativeFault, quote

#: Finds the faults between several keys of an object. Each key may be faulty by itself, too.
Rule = Callable[[Mapping[str, Any]], Iterator[RelativeFault]]

#: Replaces secrets in serialized configurations.
HIDDEN = "(hidden)"

#: Stands for no default: ``None`` can be a default.
NO_DEFAULT = object()


class Kind(ABC):
    """Description of the values that are valid at one place of a file."""

    @abstractmethod
    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        """
        Convert decoded JSON into a value.

        :param path: Path of ``raw`` in the file.
        :param faults: Receives every fault of ``raw``.
        :return: The value. Not to be used if there are faults.
        """

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the values, as far as JSON Schema can express it."""

    @abstractmethod
    def serialize(self, value: Any) -> Any:
        """Convert a value into JSON that :meth:`read` accepts. Secrets become :data:`HIDDEN`."""

    def changes(self, before: Any, after: Any, path: Path) -> Iterator[Path]:
        """Yield the paths of the keys whose values differ."""
        if before != after:
            yield path


@dataclass(frozen=True, eq=False)
class ScalarKind(Kind):
    """
    A string, number or boolean, and values with such a form, for example networks.

    :ivar parse: Converts decoded JSON into the value, or raises :class:`ValueError` with the fault as its text.
    :ivar json_schema: JSON Schema of the values.
    """

    parse: Callable[[object], object]
    json_schema: Mapping[str, object]

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        try:
            return self.parse(raw)
        except ValueError as error:
            faults.add(path, str(error))
            return None

    def schema(self) -> dict[str, Any]:
        return dict(self.json_schema)

    def serialize(self, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, (str, bool, int, float)) else str(value)


@dataclass(frozen=True, eq=False)
class LiteralKind(Kind):
    """
    One of several strings.

    :ivar options: The strings.
    """

    options: Sequence[str]

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        if raw not in self.options:
            faults.add(path, f"{quote(raw)} is not one of {', '.join(map(quote, self.options))}")
        return raw

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.options)}

    def serialize(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, eq=False)
class OptionalKind(Kind):
    """
    A value or null.

    :ivar inner: Kind of the value.
    """

    inner: Kind

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        return None if raw is None else self.inner.read(raw, path, faults)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}

    def serialize(self, value: Any) -> Any:
        return None if value is None else self.inner.serialize(value)


@dataclass(frozen=True, eq=False)
class ListKind(Kind):
    """
    A list; its value is a tuple.

    :ivar items: Kind of the items.
    :ivar not_empty: Whether the list must have an item.
    """

    items: Kind
    not_empty: bool = False

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        if not isinstance(raw, list):
            faults.add(path, f"{quote(raw)} is not a list")
            return None
        if self.not_empty and not raw:
            faults.add(path, "is empty")
        return tuple(self.items.read(item, (*path, index), faults) for index, item in enumerate(raw))

    def schema(self) -> dict[str, Any]:
        schema = {"type": "array", "items": self.items.schema()}
        return {**schema, "minItems": 1} if self.not_empty else schema

    def serialize(self, value: Any) -> Any:
        return [self.items.serialize(item) for item in value]


@dataclass(frozen=True, eq=False)
class MappingKind(Kind):
    """
    An object with arbitrary keys; its value is a read-only mapping.

    :ivar keys: Kind of the keys.
    :ivar values: Kind of the values.
    :ivar not_empty: Whether the object must have a key.
    """

    keys: Kind
    values: Kind
    not_empty: bool = False

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        if not isinstance(raw, dict):
            faults.add(path, f"{quote(raw)} is not an object")
            return None
        if self.not_empty and not raw:
            faults.add(path, "is empty")
        return MappingProxyType(
            {
                self.keys.read(key, (*path, key), faults): self.values.read(value, (*path, key), faults)
                for key, value in raw.items()
            }
        )

    def schema(self) -> dict[str, Any]:
        schema = {
            "type": "object",
            "propertyNames": self.keys.schema(),
            "additionalProperties": self.values.schema(),
        }
        return {**schema, "minProperties": 1} if self.not_empty else schema

    def serialize(self, value: Any) -> Any:
        return {self.keys.serialize(key): self.values.serialize(item) for key, item in value.items()}


@dataclass(frozen=True, eq=False)
class Key:
    """
    A key of an :class:`ObjectKind`.

    :ivar name: The key in the file, and the attribute of the class.
    :ivar kind: Kind of its values.
    :ivar description: Description for operators.
    :ivar required: Whether the key must be present.
    :ivar default: Default in the JSON Schema, or :data:`NO_DEFAULT`.
    :ivar secret: Whether serialization hides the value.
    """

    name: str
    kind: Kind
    description: str
    required: bool = False
    default: Any = NO_DEFAULT
    secret: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the key's values, with the description and the default."""
        schema = {**self.kind.schema(), "description": self.description}
        if self.default is not NO_DEFAULT:
            schema["default"] = self.kind.serialize(self.default)
        return schema

    def serialize(self, value: Any) -> Any:
        """Serialize a value of the key, or hide it."""
        return HIDDEN if self.secret and value is not None else self.kind.serialize(value)


@dataclass(frozen=True, eq=False)
class ObjectKind(Kind):
    """
    An object with known keys; its value is an instance of a class.

    :ivar cls: The class. Its constructor accepts the keys as keyword arguments.
    :ivar description: Description for operators.
    :ivar keys: The known keys, by name.
    :ivar rule: Finds the faults between keys, or ``None``.
    :ivar other_keys: Name of the attribute that receives all other keys as a mapping, or ``None`` to reject them.
    """

    cls: type
    description: str
    keys: Mapping[str, Key]
    rule: Rule | None = None
    other_keys: str | None = None

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        if not isinstance(raw, dict):
            faults.add(path, f"{quote(raw)} is not an object")
            return None
        before = len(faults)
        values = {}
        others = {}
        for name, value in raw.items():
            if name in self.keys:
                values[name] = self.keys[name].kind.read(value, (*path, name), faults)
            elif self.other_keys is not None:
                others[name] = value
            else:
                faults.add((*path, name), self._unknown_key(name))
        for key in self.keys.values():
            if key.required and key.name not in raw:
                faults.add((*path, key.name), "is missing")
        if self.rule is not None:
            faults.add_relative(path, self.rule(raw))
        if len(faults) > before:
            return None
        if self.other_keys is not None:
            values[self.other_keys] = others
        return self.cls(**values)

    def _unknown_key(self, name: str) -> str:
        similar = get_close_matches(name, self.keys, 1)
        hint = f"did you mean {quote(similar[0])}?" if similar else f"known keys are {', '.join(self.keys)}"
        return f"is not a known key; {hint}"

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "description": self.description,
            "properties": {name: key.schema() for name, key in self.keys.items()},
            "required": [name for name, key in self.keys.items() if key.required],
            "additionalProperties": self.other_keys is not None,
        }

    def serialize(self, value: Any) -> Any:
        plain = {name: key.serialize(getattr(value, name)) for name, key in self.keys.items()}
        return plain if self.other_keys is None else {**plain, **getattr(value, self.other_keys)}

    def changes(self, before: Any, after: Any, path: Path) -> Iterator[Path]:
        for name, key in self.keys.items():
            yield from key.kind.changes(getattr(before, name), getattr(after, name), (*path, name))
        if self.other_keys is not None and getattr(before, self.other_keys) != getattr(after, self.other_keys):
            yield path


@dataclass(frozen=True, eq=False)
class ChoiceKind(Kind):
    """
    One of several objects, selected by the key ``type``.

    :ivar choices: The objects by the names of their type, that is the options of their key ``type``. The first one is
        also selected if the key is missing.
    :ivar fallback: The object for all other types.
    """

    choices: Mapping[str, ObjectKind]
    fallback: ObjectKind

    def read(self, raw: object, path: Path, faults: FaultCollector) -> Any:
        if not isinstance(raw, dict):
            faults.add(path, f"{quote(raw)} is not an object")
            return None
        name = raw.get("type", next(iter(self.choices)))
        chosen = self.choices.get(name, self.fallback) if isinstance(name, str) else self.fallback
        return chosen.read(raw, path, faults)

    def schema(self) -> dict[str, Any]:
        schemas = [kind.schema() for kind in (*self.choices.values(), self.fallback)]
        for schema in schemas[1:]:
            schema["required"] = sorted({"type", *schema["required"]})
        schemas[-1]["properties"]["type"]["not"] = {"enum": list(self.choices)}
        return {"anyOf": schemas}

    def serialize(self, value: Any) -> Any:
        return self._kind_of(value).serialize(value)

    def changes(self, before: Any, after: Any, path: Path) -> Iterator[Path]:
        if type(before) is type(after):
            yield from self._kind_of(before).changes(before, after, path)
        else:
            yield path

    def _kind_of(self, value: object) -> ObjectKind:
        return next(kind for kind in (*self.choices.values(), self.fallback) if kind.cls is type(value))
