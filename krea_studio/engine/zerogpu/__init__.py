"""The engine of a ZeroGPU Space: models are placed as the Space starts, and a GPU is lent for the length of a run."""
