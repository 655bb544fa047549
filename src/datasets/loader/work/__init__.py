"""The work of a load: it is planned, divided among pods, fetched, written and published."""
