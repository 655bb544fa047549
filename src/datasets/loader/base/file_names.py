"""The endings of file names that tell a file's kind."""

from __future__ import annotations

import re

ARCHIVE_NAME = re.compile(r"\.(zip|tar(\.\w+)?|tgz|tbz2?|txz|tzst|7z|rar)$", re.IGNORECASE)
