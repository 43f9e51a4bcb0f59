"""Single files of weights in the layouts that people hold: what one is by its header, and how its layers are read.

`containers` reads a header, `names` knows the layouts' names, `layers` says how each parameter is stored, `model_file`
what the file is, `models_folder` which files a folder of models has; all of these are free of torch. `unpacking` turns
stored bytes into numbers, `packed` is a linear layer that keeps them stored, `loading` makes a model.
"""
