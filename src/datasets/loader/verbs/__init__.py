"""What the loader can be told to do, a module each."""
