"""The command line: `main` reads the flags of `python -m krea_studio`, moodboards and styles have their own modules."""
