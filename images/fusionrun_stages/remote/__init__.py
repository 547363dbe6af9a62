"""Hubs and object stores."""
