"""Training of what the project ships: the embedded checkpoints and the world that they know.

The world (`world`, `captions`, `renderer`) is data and drawings, without torch. The rest turns it into real Krea 2
checkpoints on a CPU or a CUDA device.
"""
