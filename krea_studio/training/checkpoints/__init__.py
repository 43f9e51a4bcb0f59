"""The embedded checkpoints: real Krea 2 ones of the small world, trained from nothing in the order of `mini`."""
