"""Serving the page, and what stands between the network and it."""
