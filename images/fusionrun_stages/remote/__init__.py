"""Clients of Hugging Face hubs and of object stores."""
