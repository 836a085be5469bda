"""The log as one flat JSON object a line, for those who collect it."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, eventAsText, formatEvent

#: What Twisted adds to each event, beside the fields of the line.
_INTERNAL_PREFIX = "log_"
_PLAIN = (str, int, float, bool, type(None))


def format_event(event: LogEvent) -> str:
    """
    Write one event: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, and the fields of the line.

    :return: One line, its end included.
    """
    fields = {
        key: value if isinstance(value, _PLAIN) else str(value)
        for key, value in event.items()
        if not key.startswith(_INTERNAL_PREFIX)
    }
    level = event.get("log_level", LogLevel.info)
    line = {
        # What a line says of itself cannot be taken for what Twisted says of it.
        **fields,
        "time": datetime.fromtimestamp(event["log_time"], timezone.utc).isoformat(timespec="milliseconds"),
        "level": level.name,
        "logger": event.get("log_namespace", ""),
        "message": formatEvent(event) or eventAsText(event, includeTimestamp=False, includeSystem=False),
    }
    if "log_failure" in event:
        line["traceback"] = event["log_failure"].getTraceback()
    return json.dumps(line) + "\n"


def stdout_observer() -> ILogObserver:
    """Make the observer that ``twistd --logger`` asks for: it writes to standard output."""
    return FileLogObserver(sys.stdout, format_event)
