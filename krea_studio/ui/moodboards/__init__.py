"""The tab Moodboards, where boards are made, filled, analyzed and given away."""
