"""Krea Studio: direct the Krea 2 image model from a page, a command line or a script, on your own machine.

An unofficial project. Importing this package loads neither torch nor gradio; the rooms that need them import them
when they are first used.
"""

__version__ = "0.1.0"
