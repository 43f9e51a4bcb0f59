"""What was made, found again: its words, searches, pages, stars and the bin."""
