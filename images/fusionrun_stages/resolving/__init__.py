"""Checks of ``resolve``: references, access, memory and disk."""
