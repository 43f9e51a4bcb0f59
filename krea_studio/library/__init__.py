"""What was made: every picture as a PNG with its recipe inside, a thumbnail, and a record that finds it again.

No torch and no gradio here; pictures arrive finished.
"""
