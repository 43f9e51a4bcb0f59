"""The tab Create: its controls one module each, what happens on it, and settings that come back from a picture."""
