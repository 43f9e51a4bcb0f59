"""What many people at once take and lose: `python -m krea_studio measure reliability`, on Linux.

A studio with accounts runs in a process of its own on the embedded checkpoints, and clients ask it for pictures. Then
come calls that no program means to make, and files that are not what they say.
"""

from krea_studio.measures.reliability.report import main

__all__ = ["main"]
