"""The model side of each control: sliders, styles, references, and the adapters that carry the first two."""
