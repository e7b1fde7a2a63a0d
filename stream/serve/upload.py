"""A file that comes over HTTP: written under another name until all of it is there."""

import asyncio
import os
import re
from typing import BinaryIO

from aiohttp import web

from stream.errors import DeblurError, UsageError, WriteError
from stream.paths import megabytes, put_on_disk
from stream.serve.folders import Folders

_PIECE = 1 << 20
_STALL_S = 60.0
"""An upload of which nothing comes for so long has broken off."""
_CHECK = 64 << 20
"""The room on the disk is looked at after so many bytes: others write there as well."""
_NAME_BYTES = 200


class TooLargeError(DeblurError):
    """An upload is larger than uploads may be."""


class BrokenOffError(DeblurError):
    """Of an upload not all came."""


def check_name(name: str) -> str:
    """A name that an upload may have: one of a file, without a folder. Raises `UsageError`."""
    bad = re.search(r"[/\\\x00-\x1f\x7f]", name) or name.startswith(".") or not name.strip()
    if bad or not name.isprintable() or len(os.fsencode(name)) > _NAME_BYTES:
        raise UsageError(
            "name= must be the name of a file, without folders, of at most 200 bytes, and may not "
            "begin with a dot"
        )
    return name


async def receive(request: web.Request, folders: Folders, key: str, name: str, most: int) -> int:
    """Take the body of a request as the upload of a job; its size.

    Raises `TooLargeError` above `most` bytes, `BrokenOffError`, or `WriteError` where the disk has
    no room; nothing is left then.
    """
    length = request.content_length
    if length is not None:
        _check_size(length, most)
        folders.check_room(length)
    file = folders.upload(key, name)
    part = file.with_name("upload.part")
    try:
        part.parent.mkdir(parents=True)
        with part.open("xb") as out:
            size = await _copy(request, folders, out, most)
        if size == 0 or (length is not None and size != length):
            raise BrokenOffError(f"{size} bytes came" + (f" of {length}" if length else ""))
        # What a job is made of holds as long as the job.
        await asyncio.to_thread(put_on_disk, part)
        part.replace(file)
    except OSError as error:
        folders.forget(key)
        raise WriteError(f"cannot write {name}: {error.strerror}") from None
    except BaseException:
        folders.forget(key)
        raise
    return size


async def _copy(request: web.Request, folders: Folders, out: BinaryIO, most: int) -> int:
    size, checked = 0, 0
    while True:
        try:
            piece = await asyncio.wait_for(request.content.read(_PIECE), _STALL_S)
        except TimeoutError:
            raise BrokenOffError(f"nothing came for {_STALL_S:.0f} s") from None
        except (ConnectionError, web.HTTPException, web.RequestPayloadError) as error:
            raise BrokenOffError("the upload broke off") from error
        if not piece:
            return size
        size += len(piece)
        _check_size(size, most)
        if size > checked:
            folders.check_room(_CHECK)
            checked = size + _CHECK
        await asyncio.to_thread(out.write, piece)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooLargeError(f"an upload may have {megabytes(most)} (--max-upload)")
