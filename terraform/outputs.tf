output "app_name" {
  description = "Name of the application."
  value       = juju_application.aws_efs.name
}

output "application" {
  description = "The application, with all its attributes."
  value       = juju_application.aws_efs
}

output "provides" {
  description = "Endpoints that the charm provides."
  value = {
    filesystem = "filesystem"
  }
}

output "requires" {
  description = "Endpoints that the charm requires."
  value = {
    certificates = "certificates"
    kube_control = "kube-control"
    workers      = "workers"
  }
}
