"""The engine in this process: the line, the thread of a run, drawing, and the resident language model."""
