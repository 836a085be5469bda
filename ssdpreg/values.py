"""Frozen values of which many are made: messages, advertisements and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen, slots):
        """
        Make a dataclass that is frozen for the type checker, and not at run time.

        A dataclass that is frozen at run time sets each of its fields by a call of ``object.__setattr__``. That takes
        five times as long, and a new service makes seven values with 40 fields. Comparison and hash are the same.
        Registrations are frozen at run time, too, because backends of others receive them.

        :param frozen: Whether the values are frozen, so that they have a hash.
        :param slots: Whether the instances have slots in place of a dictionary.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)
