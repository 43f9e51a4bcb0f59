"""How a prompt is written out: what a level asks of a writer, what of its answer is kept, and who the writers are.

A writer is the phrasebook, the language model in a checkpoint, or a chat server.
"""
