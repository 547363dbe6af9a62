"""The CustomResourceDefinition of FusionRun: its schema, its rules in CEL and its reference."""
