"""What makes the pictures: the only room with torch and diffusers.

`base` holds the protocol and its events and is free of torch; importing this package loads nothing heavy.
"""
