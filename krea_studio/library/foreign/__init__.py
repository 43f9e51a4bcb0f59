"""Settings out of pictures that other tools made: which tool it was, what it wrote, and what that means here.

A picture is never decoded and its texts are hostile: sizes are capped before anything is read, and nothing is guessed
in silence. `tools` has the table of the tools, a module each reads what it writes, `translation` makes a request of it.
"""
