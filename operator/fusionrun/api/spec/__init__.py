"""The spec of a FusionRun: one module per part."""
