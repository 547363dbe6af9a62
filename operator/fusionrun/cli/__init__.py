"""Commands for users of FusionRun. None changes a cluster, and none needs the operator."""
