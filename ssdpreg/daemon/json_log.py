"""Log observer that writes one flat JSON object per line, for log collectors."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, eventAsText, formatEvent

#: Prefix of the keys that Twisted adds to each event.
_INTERNAL_PREFIX = "log_"
#: Types of values that are written as they are. Values of other types are converted to text.
_PLAIN = (str, int, float, bool, type(None))


def format_event(event: LogEvent) -> str:
    """
    Serialize an event: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, and the event's own fields.

    :return: One line, including its line end; empty for an event without a text.
    """
    message = formatEvent(event) or eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not message:
        return ""
    fields = {
        key: value if isinstance(value, _PLAIN) else str(value)
        for key, value in event.items()
        if not key.startswith(_INTERNAL_PREFIX)
    }
    level = event.get("log_level", LogLevel.info)
    line = {
        # First, so that a field of the event cannot replace one of the four keys below.
        **fields,
        "time": datetime.fromtimestamp(event["log_time"], timezone.utc).isoformat(timespec="milliseconds"),
        "level": level.name,
        "logger": event.get("log_namespace", ""),
        "message": message,
    }
    if "log_failure" in event:
        line["traceback"] = event["log_failure"].getTraceback()
    return json.dumps(line) + "\n"


def stdout_observer() -> ILogObserver:
    """Make the observer that ``twistd --logger`` expects. It writes to standard output."""
    return FileLogObserver(sys.stdout, format_event)
