"""The small world that the embedded checkpoints know: its scenes, their captions and how they are drawn. Without torch."""
