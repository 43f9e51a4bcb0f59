"""Files of pictures: what comes in as pixels, what is written in a picture and read out of it, sheets of many."""
