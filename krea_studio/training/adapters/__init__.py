"""LoRAs trained on any checkpoint: sliders, and styles of a person's own pictures."""
