"""AWS: file system, mount targets and security group. Nothing here knows Juju or Kubernetes."""
