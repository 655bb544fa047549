"""AWS on loopback: moto plus the rules of EFS, EC2 and IAM that moto lacks."""
