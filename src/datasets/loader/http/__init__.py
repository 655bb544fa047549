"""HTTP requests, and objects that are read by one connection or by many.

It knows redirects, proxies and ranges, and no kind of source.
"""

from __future__ import annotations
