"""A whole cloud on one machine: AWS, Kubernetes with nodes that run pods, and Juju, for the tests and the demo."""
