"""The AWS half: file system, mount targets, security group. It knows no Juju, no Kubernetes."""
