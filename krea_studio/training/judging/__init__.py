"""What the pictures of the embedded checkpoints are worth, and styles' pictures."""
