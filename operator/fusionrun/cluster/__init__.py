"""The only hands: the one room that talks to the API server, and the store of what it said."""
