"""AWS on loopback: moto, with the rules of EFS and EC2 that moto lacks."""
