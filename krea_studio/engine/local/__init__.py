"""The engine in this process: the line, drawing, and the resident language model."""
