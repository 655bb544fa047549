"""The loader as one file that Python runs."""

from __future__ import annotations

import functools
import io
import pathlib
import zipfile

MAIN = "from datasets.loader import program\n\nprogram.run()\n"


@functools.lru_cache(maxsize=1)
def zipapp() -> bytes:
    """Return the loader as a zip file that Python runs; the same bytes for the same code."""
    files = {"__main__.py": MAIN.encode()}
    package = pathlib.Path(__file__).parent
    shared = [package / "__init__.py", package / "protocol.py"]
    for path in (*shared, *sorted((package / "loader").rglob("*.py"))):
        files[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    # Stored, not deflated: the output of zlib differs between its builds.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
