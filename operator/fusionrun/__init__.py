"""FusionRun: a Kubernetes operator that fuses large language models by the FuseChat-3.0 recipe."""

__version__ = "0.3.0"
