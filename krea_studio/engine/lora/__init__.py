"""LoRA files, read without trusting them: what their keys mean, what a file is, and the one form that loads."""
