"""The programs that run in pods: one module per kind of stage, started by ``python -m fusionrun_stages <kind>``."""
