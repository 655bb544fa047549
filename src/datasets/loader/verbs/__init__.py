"""The verbs of the loader, one module each."""
