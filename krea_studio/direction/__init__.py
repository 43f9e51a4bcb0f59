"""How a person bends a picture: what each control means, and its data. One module per control, free of torch.

What carries a control out in the model is `engine`'s part.
"""
