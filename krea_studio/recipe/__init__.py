"""What to make, as data: the request of a person, the tables behind it, and the plan that resolves everything.

No torch, no gradio, no files. Same request and seed, same plan.
"""
