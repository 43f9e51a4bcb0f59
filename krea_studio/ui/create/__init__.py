"""The tab Create: its controls under `panels`, what happens on it, and settings that come back from a picture."""
