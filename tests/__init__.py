"""The tests, in the rooms of the package; shared fixtures in conftest.py, doubles and strategies beside it."""
