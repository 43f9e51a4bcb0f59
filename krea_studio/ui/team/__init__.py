"""The tab Team: what everybody makes, for admins."""
