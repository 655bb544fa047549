"""Archives: each format is read as a sequence of members.

It does not know where an archive comes from, or where its members are written.
"""

from __future__ import annotations
