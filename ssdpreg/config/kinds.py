"""
Kinds of values in a configuration file.

Each kind reads decoded JSON, describes itself in JSON Schema, serializes a value back into JSON, and compares two
values. :mod:`ssdpreg.config.reader` makes kinds from type annotations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ssdpreg.config.faults import FaultCollector, Path, quote


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
        """Convert a value into JSON that :meth:`read` accepts, with secrets hidden."""

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
