"""HTTP: requests, redirects, proxies, and objects that are read by one connection or many; it knows no kind of source."""
