"""The controls of the Create tab, one module each: a panel that gives its fields of a request and takes a recipe."""
