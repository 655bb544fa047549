"""HTTP requests, and objects that are read over one connection or many.

It handles redirects, proxies and ranges, and knows no kind of source.
"""

from __future__ import annotations
