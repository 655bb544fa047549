variable "app_name" {
  description = "Name of the application in the model."
  type        = string
  default     = "aws-efs"
  nullable    = false
}

variable "base" {
  description = "Base of the machine: ubuntu@22.04 (also for Juju 2.9) or ubuntu@24.04."
  type        = string
  default     = "ubuntu@24.04"
  nullable    = false
}

variable "channel" {
  description = "Channel of the charm."
  type        = string
  default     = "latest/stable"
  nullable    = false
}

variable "config" {
  description = "Options of the charm, as docs/reference/options.md describes them, each as a string."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "constraints" {
  description = "Constraints of the machine, as in \"arch=amd64 mem=4G\". A change replaces the application."
  type        = string
  default     = null
}

variable "model_uuid" {
  description = "UUID of the model that has Charmed Kubernetes on AWS."
  type        = string
  nullable    = false
}

variable "revision" {
  description = "Revision of the charm; null means the newest of the channel."
  type        = number
  default     = null
}

variable "trust" {
  description = "Whether the charm gets the model's AWS credential, as by juju deploy --trust; false if the option credentials names a secret, or if the machine has an instance profile."
  type        = bool
  default     = true
  nullable    = false
}

variable "units" {
  description = "Number of units. One works; the others stand by."
  type        = number
  default     = 1
  nullable    = false
}
