"""``/static``: what the status page is made of, beside itself."""

from __future__ import annotations

import hashlib

from twisted.python.filepath import FilePath
from twisted.web.http import CACHED
from twisted.web.server import Request

from ssdpreg.web.resources import Folder, Readable, compressed

#: Named here, since what a host's own tables say of them differs.
_TYPES = {
    "icon.svg": b"image/svg+xml",
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
}


class Asset(Readable):
    """
    A small file that a browser asks for again each time, to be told that it has not changed.

    :param content: What is in it.
    :param content_type: Its MIME type.
    """

    def __init__(self, content: bytes, content_type: bytes) -> None:
        super().__init__()
        self._content, self._content_type = content, content_type
        self._etag = b'"' + hashlib.sha256(content).hexdigest()[:16].encode() + b'"'

    async def answer(self, request: Request) -> bytes:
        request.setHeader(b"Content-Type", self._content_type)
        request.setHeader(b"Cache-Control", b"no-cache")
        return b"" if request.setETag(self._etag) is CACHED else self._content


def make_assets() -> Folder:
    """Make a resource for each file."""
    folder = Folder()
    for name, content_type in _TYPES.items():
        content = FilePath(__file__).sibling("static").child(name).getContent()
        folder.putChild(name.encode(), compressed(Asset(content, content_type)))
    return folder
