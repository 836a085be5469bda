"""JSON to frozen classes, with every fault and its place, and back."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn, override

from ssdpreg.config.values import Kind, show
from ssdpreg.errors import ConfigError, Fault

T = TypeVar("T")
#: Keys of objects and indices of lists, from the outermost in.
Path = tuple[str | int, ...]
#: Tells what is wrong between several keys of the object that becomes a class.
Rule = Callable[[type, Mapping[str, Any]], Iterable["FaultError"]]

#: Metadata of a field that no file may set.
NOT_IN_FILE: Mapping[str, bool] = {"in_file": False}
#: Metadata of the field that takes all keys which no other field does.
REST: Mapping[str, bool] = {"rest": True}

#: Marks a list or an object that says nothing unless there is something in it.
NOT_EMPTY = object()

#: Deeper than any configuration goes, and far from where Python's own limits are.
_DEEPEST = 50
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


class FaultError(ValueError):
    """
    Something is wrong further inside.

    :ivar path: Where, from the object at hand.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(problem)
        self.path = path


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys stood in it more than once."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: Sequence[str] = ()
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.repeated = [key for key, count in counts.items() if count > 1]


def read_text(path: str) -> str:
    """
    Read a file.

    :raise ConfigError: If there is none, or no text in it.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(Fault("", f"{path} cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise ConfigError(Fault("", f"{path} is no UTF-8 text, from its byte {error.start + 1} on")) from error


def decode(text: str) -> object:
    """
    Read JSON.

    :raise ConfigError: If it is not JSON, or could be read in more than one way.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_Object)
        faults = [Fault(spell(path), problem) for path, problem in _ambiguities(raw, ())]
    except json.JSONDecodeError as error:
        # Some messages would go on to say where.
        problem = re.sub(" at$", " here", error.msg)
        faults = [Fault("", f"line {error.lineno}, column {error.colno}: {problem}")]
    except RecursionError:
        faults = [Fault("", "is nested too deeply")]
    except ValueError:
        faults = [Fault("", "has a number of too many digits")]
    if faults:
        raise ConfigError(*faults)
    return raw


def _ambiguities(raw: object, path: Path) -> Iterator[tuple[Path, str]]:
    if len(path) > _DEEPEST:
        yield path[:3], "is nested too deeply"
    elif isinstance(raw, _Object):
        for key in raw.repeated:
            yield (*path, key), "stands here more than once"
        for key, value in raw.items():
            yield from _ambiguities(value, (*path, key))
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            yield from _ambiguities(value, (*path, index))
    elif isinstance(raw, float) and not math.isfinite(raw):
        yield path, f"{show(raw)} is no number of JSON"


def spell(path: Path) -> str:
    """Write a path as people read it: ``ssdp.checks["urn:a:b:c"].http``, ``ssdp.tags.RackHD[1]``."""
    spelt = ""
    for step in path:
        if isinstance(step, int):
            spelt += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            spelt += f".{step}" if spelt else step
        else:
            spelt += f"[{json.dumps(step)}]"
    return spelt


def strict_converter(rule: Rule) -> Converter:
    """
    Make a converter that takes nothing for what it is not: cattrs itself makes text of anything, and lists of text.

    :param rule: Asked of each object that becomes a class.
    """
    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(bool, _read_boolean)
    converter.register_structure_hook_factory(attrs.has, partial(_class_reader, converter, rule))
    converter.register_structure_hook_func(is_literal, _read_literal)
    converter.register_structure_hook_func(is_list, partial(_read_list, converter))
    converter.register_structure_hook_func(is_mapping, partial(_read_mapping, converter))
    converter.register_structure_hook_func(is_choice, partial(_read_choice, converter))
    converter.register_structure_hook_func(is_annotated, partial(_read_annotated, converter))
    return converter


def structure(converter: Converter, raw: object, cls: type[T]) -> T:
    """
    Make a value of what stood in JSON.

    :param converter: From :func:`strict_converter`.
    :param raw: From :func:`decode`.
    :param cls: An attrs class.
    :raise ConfigError: With every fault, in the order of the file.
    """
    try:
        return converter.structure(raw, cls)
    except (ClassValidationError, ValueError) as error:
        # What is wrong by itself comes first, and is not judged again together with its neighbours.
        problems: dict[Path, str] = {}
        for path, problem in _problems(error, ()):
            problems.setdefault(path, problem)
        paths = sorted(problems, key=partial(_place, raw))
        raise ConfigError(*(Fault(spell(path), problems[path]) for path in paths)) from None


def destructure(value: object) -> Any:
    """Make plain JSON of a value, with secrets hidden: fields that are in no ``repr``."""
    if attrs.has(type(value)):
        plain: dict[str, Any] = {}
        for field in fields(type(value)):
            content = getattr(value, field.name)
            if is_rest(field):
                plain |= content
            elif content is not None and not field.repr:
                plain[field.name] = "(hidden)"
            else:
                plain[field.name] = destructure(content)
        return plain
    if isinstance(value, Mapping):
        return {key: destructure(content) for key, content in value.items()}
    if isinstance(value, (tuple, list)):
        return [destructure(content) for content in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def fields(cls: type) -> list[attrs.Attribute[Any]]:
    """List the fields of a class that a file may set, with their types."""
    return [field for field in attrs.fields(attrs.resolve_types(cls)) if field.metadata.get("in_file", True)]


def is_rest(field: attrs.Attribute[Any]) -> bool:
    """Whether a field takes what no other does."""
    return bool(field.metadata.get("rest", False))


def is_annotated(kind: Any) -> bool:
    """Whether a type carries what its values may be."""
    return get_origin(kind) is Annotated


def is_choice(kind: Any) -> bool:
    """Whether a type is one of several classes, of which the key ``type`` tells."""
    return get_origin(kind) in (Union, UnionType) and all(map(attrs.has, get_args(kind)))


def is_list(kind: Any) -> bool:
    """Whether a type is that of any number of items."""
    return get_origin(kind) is tuple


def is_literal(kind: Any) -> bool:
    """Whether a type lists its values."""
    return get_origin(kind) is Literal


def is_mapping(kind: Any) -> bool:
    """Whether a type has keys that are not known beforehand."""
    return get_origin(kind) is Mapping


def _class_reader(converter: Converter, rule: Rule, cls: type[Any]) -> Callable[[object, object], Any]:
    known = fields(cls)
    hidden = {field.name: override(omit=True) for field in attrs.fields(cls) if field not in known}
    rest = next((field.name for field in known if is_rest(field)), None)
    names = {field.name for field in known} - {rest}
    read = make_dict_structure_fn(cls, converter, **hidden)  # type: ignore[arg-type]

    def read_class(raw: object, _: object) -> Any:
        if not isinstance(raw, dict):
            raise ValueError(f"{show(raw)} is no object")
        values = raw
        if rest is not None:
            values = {key: raw[key] for key in raw if key in names}
            values[rest] = {key: raw[key] for key in raw if key not in names}
        wrong: list[Exception] = list(rule(cls, raw))
        try:
            value = read(values, cls)
        except ClassValidationError as error:
            wrong = [*error.exceptions, *wrong]
        if wrong:
            raise ClassValidationError(cls.__name__, wrong, cls)
        return value

    return read_class


def _read_boolean(raw: object, _: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{show(raw)} is neither true nor false")
    return raw


def _read_literal(raw: object, kind: Any) -> Any:
    known = get_args(kind)
    if raw not in known:
        raise ValueError(f"{show(raw)} is none of {', '.join(map(show, known))}")
    return raw


def _read_list(converter: Converter, raw: object, kind: Any) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise ValueError(f"{show(raw)} is no list")
    return tuple(converter.structure(raw, list[get_args(kind)[0]]))  # type: ignore[arg-type,misc]


def _read_mapping(converter: Converter, raw: object, kind: Any) -> Mapping[Any, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"{show(raw)} is no object")
    return MappingProxyType(converter.structure(raw, dict[get_args(kind)]))  # type: ignore[arg-type,misc]


def _read_choice(converter: Converter, raw: object, kind: Any) -> Any:
    if not isinstance(raw, dict):
        raise ValueError(f"{show(raw)} is no object")
    # The first class is meant by no name at all, the last by all names that are not known.
    classes = get_args(kind)
    named = [cls for cls in classes if "type" not in raw or raw["type"] in type_names(cls)]
    return converter.structure(raw, [*named, classes[-1]][0])


def type_names(cls: type) -> tuple[Any, ...]:
    """List what ``type`` may say for a class; nothing, for the one that takes all other names."""
    kind = attrs.fields_dict(attrs.resolve_types(cls))["type"].type
    return get_args(kind) if is_literal(kind) else ()


def _read_annotated(converter: Converter, raw: object, kind: Any) -> Any:
    inner, mark = get_args(kind)
    if isinstance(mark, Kind):
        return mark.read(raw)
    value = converter.structure(raw, inner)
    if not value:
        raise ValueError("is empty")
    return value


def _problems(error: BaseException, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        noted, plain = error.group_exceptions()
        for inner, note in noted:
            step = note.name if isinstance(note, AttributeValidationNote) else note.index
            yield from _problems(inner, (*path, step))
        for inner in plain:
            yield from _problems(inner, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in fields(error.cl)]
        for key in error.extra_fields:
            yield (*path, key), _unknown(key, known)
    elif isinstance(error, FaultError):
        yield (*path, *error.path), str(error)
    elif isinstance(error, ValueError):
        yield path, str(error)
    elif isinstance(error, KeyError):
        yield path, "is missing"
    else:
        raise error


def _unknown(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, 1)
    return f"is unknown; did you mean {show(close[0])}?" if close else f"is unknown; known are {', '.join(known)}"


def _place(raw: object, path: Path) -> list[int]:
    """Say where in the file a path is, to sort by. What is missing would come last."""
    place = []
    for step in path:
        if isinstance(raw, dict):
            place.append([*raw, step].index(step))
            raw = raw.get(step)
        elif isinstance(raw, list) and isinstance(step, int):
            place.append(step)
            raw = raw[step]
    return place
