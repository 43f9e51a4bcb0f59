"""The tab Compare: two to four pictures side by side, what differs between them, and another roll from there."""
