"""What is going on: every run of the studio, who waits, whose turn it is, and how far it has come."""
