"""What ``sft`` and ``dpo`` share, one small module for each concern. Imports nothing heavy by itself."""
