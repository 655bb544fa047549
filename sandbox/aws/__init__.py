"""AWS on loopback: EFS and the parts of EC2 that the charm calls, on moto, with the rules that moto lacks."""
