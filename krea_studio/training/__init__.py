"""Training of what the project ships, and of what people bring: checkpoints of a small world, styles, sliders.

`mini` is the command that makes the embedded checkpoints; every training shares `loop` and `flow`.
"""
