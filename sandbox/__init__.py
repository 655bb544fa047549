"""A whole cloud on one machine, for tests and demo: AWS, Kubernetes with its nodes, and Juju."""
