"""``/static``: style sheet, script and icon of the status page."""

from __future__ import annotations

import hashlib

from twisted.python.filepath import FilePath
from twisted.web.http import CACHED
from twisted.web.server import Request

from ssdpreg.web.resources import Folder, ReadOnlyResource, compressed

#: MIME type by file name. The tables that hosts have for this differ from each other.
_TYPES = {
    "icon.svg": b"image/svg+xml",
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
}


class StaticFile(ReadOnlyResource):
    """
    A small file in memory. Browsers revalidate it at each use, and receive 304 if it has not changed.

    :param content: Bytes of the file.
    :param content_type: Its MIME type.
    """

    def __init__(self, content: bytes, content_type: bytes) -> None:
        super().__init__()
        self._content, self._content_type = content, content_type
        self._etag = b'"' + hashlib.sha256(content).hexdigest()[:16].encode() + b'"'

    async def respond(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", self._content_type)
        request.setHeader(b"Cache-Control", b"no-cache")
        return b"" if request.setETag(self._etag) is CACHED else self._content


def make_static_files() -> Folder:
    """Create the resource that holds all files."""
    folder = Folder()
    for name, content_type in _TYPES.items():
        content = FilePath(__file__).sibling("static").child(name).getContent()
        folder.putChild(name.encode(), compressed(StaticFile(content, content_type)))
    return folder
