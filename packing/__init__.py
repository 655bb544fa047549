"""What `charmcraft pack` runs, and what the tests of the packed charm run."""
