"""What a data set is, and the program that puts one on the volume; no Juju, Kubernetes or AWS."""
