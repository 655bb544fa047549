"""What other charms tell us and we tell them; only these modules and the charm import ops."""
