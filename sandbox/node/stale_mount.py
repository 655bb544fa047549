"""The program that makes a mount point stale: all that it is asked for is ESTALE.

A container keeps the directory of its sub-path. When another client of an NFS server has removed
that directory, the server knows its handle no more (RFC 8881, 15.1.2.6: NFS4ERR_STALE), and each
call of the container ends with "Stale file handle". A bind mount on one machine would read as an
empty directory instead.

It is run by path with the bare interpreter, in the container's mount namespace: the mount point is
its argument. It needs /dev/fuse, and ends with the mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import sys

# From <linux/fuse.h>: the heads of a request and of its answer, and the answer to the first one.
REQUEST, ANSWER = struct.Struct("<2I2Q4I"), struct.Struct("<IiQ")
INITIALISED = struct.Struct("<4I2H2I2H8I")
INIT, WITHOUT_ANSWER = 26, {2, 36, 42}
VERSION = (7, 31)
REQUEST_BYTES = 2**17
MNT_DETACH = 2


def main() -> int:
    """Take away what is mounted, and answer each request with ESTALE until the mount ends."""
    target = sys.argv[1].encode()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        return 0  # what is mounted stays as it is
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    # Nothing can be mounted over a directory that was removed.
    libc.umount2(target, MNT_DETACH)
    if libc.mount(b"stale", target, b"fuse", 0, f"{options},allow_other".encode()):
        return ctypes.get_errno()
    with contextlib.suppress(OSError):
        while True:
            answer(device)
    return 0


def answer(device: int) -> None:
    """Answer one request.

    Raises:
        OSError: The mount has ended.
    """
    _, kind, number, *_ = REQUEST.unpack_from(os.read(device, REQUEST_BYTES))
    if kind == INIT:
        content = INITIALISED.pack(*VERSION, 0, 0, 0, 0, 4096, *[0] * 11)
        os.write(device, ANSWER.pack(ANSWER.size + len(content), 0, number) + content)
    elif kind not in WITHOUT_ANSWER:
        os.write(device, ANSWER.pack(ANSWER.size, -errno.ESTALE, number))


if __name__ == "__main__":
    sys.exit(main())
