"""The styles that are kept, their files and cards, the folder that they are taken in from, and the Hub."""
