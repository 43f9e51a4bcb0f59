"""The tab Sweep: settings that vary from picture to picture, the table of what was drawn, and its sheet."""
