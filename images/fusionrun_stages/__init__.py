"""The programs that run in pods: one module per kind of stage (``python -m fusionrun_stages <kind>``)."""
