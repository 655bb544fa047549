terraform {
  required_version = ">= 1.1"

  required_providers {
    juju = {
      source = "juju/juju"
      # 1.x for controllers of Juju 2.9 and 3, 2.x for those of Juju 3 and 4. Before 1.0 there is no model_uuid.
      version = ">= 1.0, < 3.0"
    }
  }
}
