"""Files on the run's volume."""
