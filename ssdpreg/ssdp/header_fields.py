"""
Header fields of an SSDP message: the lines between the start line and the first empty line. Pure.

Section numbers are those of the UPnP Device Architecture 2.0 (UDA).
"""

from __future__ import annotations

#: Number of lines that are parsed. A message has less than 30, and each costs time.
_MOST_LINES = 128

#: Fields whose values are read.
_READ = (
    *("AL", "CACHE-CONTROL", "LOCATION", "MAN", "MX", "NT", "NTS", "OPT", "SERVER", "ST", "USN"),
    *("01-NLS", "BOOTID.UPNP.ORG", "CONFIGID.UPNP.ORG", "NEXTBOOTID.UPNP.ORG", "SEARCHPORT.UPNP.ORG"),
)
#: Fields that most messages have, and whose values are not read.
_IGNORED = ("DATE", "EXT", "HOST")
#: Names as nearly all devices spell them, and the names in capitals, empty for a field that is skipped. One lookup is
#: faster than the removal of blanks, the check for other characters, and the conversion to capitals.
_USUAL_NAMES = {
    spelling: name if name in _READ else ""
    for name in (*_READ, *_IGNORED)
    for spelling in (name, name.title(), name.lower())
}


def parse_fields(text: str) -> dict[str, str]:
    """
    Parse header fields, up to the first empty line or the end of the text: many devices send no empty line.

    :return: Values without outer blanks, by name in capitals. Some fields that no message needs are left out. UDA,
        1.1.2: names are not case-sensitive, values are.
    """
    fields: dict[str, str] = {}
    name = ""
    folded: list[str] = []
    # Split at LF and remove CR with strip(): some devices end lines with LF alone.
    for line in text.split("\n", _MOST_LINES)[:_MOST_LINES]:
        before, colon, after = line.partition(":")
        found = _USUAL_NAMES.get(before) if colon else None
        if found is None:
            stripped = line.strip()
            if stripped and line[0] in " \t":
                # RFC 2616, 2.2: a folded line continues the field before it. It is never parsed as a separate field.
                folded.append(stripped)
                continue
            if not stripped:
                break
            found = _unusual_name(before) if colon else ""
        if folded:
            _unfold(fields, name, folded)
            folded = []
        # Skip a line without a colon, and the second of two fields with the same name: devices send both. An empty
        # field does not count.
        name = "" if fields.get(found) else found
        if name:
            fields[name] = after.strip()
    if folded:
        _unfold(fields, name, folded)
    return fields


def _unusual_name(text: str) -> str:
    """
    Return the name of a field in capitals, empty if it is the name of no known field.

    Some letters outside ASCII have a capital in ASCII, and no other program reads such a name as that of a known field.
    """
    text = text.lstrip()
    return text.rstrip().upper() if text.isascii() else ""


def _unfold(fields: dict[str, str], name: str, folded: list[str]) -> None:
    """
    Add folded lines to the field that they continue.

    :param name: Name of the field, empty if it is skipped.
    """
    if name:
        fields[name] = " ".join([fields[name], *folded]).lstrip()
