"""Data sets and the loader that puts them on the volume; no Juju, Kubernetes or AWS."""
