"""AWS on loopback: moto plus the rules of EFS and EC2 that moto lacks."""
