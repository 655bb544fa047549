"""Archives: each format is read into members.

It knows neither where an archive comes from nor where its members go.
"""

from __future__ import annotations
