"""Kinds of objects in a configuration file: those with known keys, and the choice between several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ssdpreg.config.faults import FaultCollector, Path, RelativeFault, quote
from ssdpreg.config.kinds import Kind

#: Finds the faults between several keys of an object. Each key may be faulty by itself, too.
Rule = Callable[[Mapping[str, Any]], Iterator[RelativeFault]]

#: Stands for no default: ``None`` can be a default.
NO_DEFAULT = object()

#: Replaces secrets in serialized configurations.
_HIDDEN = "(hidden)"


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
        return _HIDDEN if self.secret and value is not None else self.kind.serialize(value)


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
