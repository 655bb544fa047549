"""A cloud on one machine for tests and the demo: AWS, Kubernetes with nodes, and Juju."""
