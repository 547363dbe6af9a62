# The images of a release, for GPUs: make release-images. The variables come from the environment.
# hack/images builds the CPU variants for the local cluster from the same Dockerfiles.

variable "REGISTRY" {
  description = "Registry and path, such as registry.example.com/ml"
  default     = ""
  validation {
    condition     = REGISTRY != ""
    error_message = "REGISTRY is empty: set it to the registry and path of the images."
  }
}

variable "VERSION" {
  description = "Tag of the images"
  default     = ""
  validation {
    condition     = VERSION != ""
    error_message = "VERSION is empty: make release-images sets it to the chart's appVersion."
  }
}

variable "REVISION" {
  description = "Commit of the sources, for the label org.opencontainers.image.revision"
  default     = ""
}

variable "SOURCE" {
  description = "URL of the repository, for the label org.opencontainers.image.source"
  default     = ""
}

# The lock files are resolved for x86_64.
variable "PLATFORMS" {
  description = "Platforms, separated by commas"
  default     = "linux/amd64"
}

# The base images. A release needs their digests (make release-check): python:3.11-slim-bookworm@sha256:...
variable "PYTHON_IMAGE" {
  default = "python:3.11-slim-bookworm"
}

variable "SANDBOX_PYTHON_IMAGE" {
  default = "python:3.13-slim-trixie"
}

group "default" {
  targets = ["images"]
}

target "images" {
  name = image.name
  matrix = {
    image = [
      { name = "operator", base = PYTHON_IMAGE },
      { name = "data", base = PYTHON_IMAGE },
      { name = "sandbox", base = SANDBOX_PYTHON_IMAGE },
      { name = "reward", base = PYTHON_IMAGE },
      { name = "train", base = PYTHON_IMAGE },
    ]
  }
  context    = "."
  dockerfile = "images/${image.name}.Dockerfile"
  args       = { BASE_IMAGE = image.base }
  tags       = ["${REGISTRY}/fusionrun-${image.name}:${VERSION}"]
  platforms  = split(",", PLATFORMS)
  labels = {
    "org.opencontainers.image.title"    = "fusionrun-${image.name}"
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.source"   = SOURCE
    "org.opencontainers.image.licenses" = "Apache-2.0"
  }
  attest = ["type=provenance,mode=max", "type=sbom"]
}
