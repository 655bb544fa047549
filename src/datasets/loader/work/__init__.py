"""A load by its pods: planned, divided, fetched, written, published."""
