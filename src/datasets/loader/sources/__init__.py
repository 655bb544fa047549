"""Sources: each module turns one kind of URL or list into the objects to fetch; it writes nothing."""
