resource "juju_application" "aws_efs" {
  name       = var.app_name
  model_uuid = var.model_uuid

  charm {
    name     = "aws-efs"
    channel  = var.channel
    revision = var.revision
    base     = var.base
  }

  config      = var.config
  constraints = var.constraints
  trust       = var.trust
  units       = var.units
}
