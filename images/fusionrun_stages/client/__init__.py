"""HTTP client of a served model or an external endpoint."""
