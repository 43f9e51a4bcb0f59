"""The tab Styles, where styles are found, taken in, looked at and told apart."""
