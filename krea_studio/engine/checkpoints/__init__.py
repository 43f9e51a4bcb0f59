"""Where weights come from and where they stay: the table, the parts of a checkpoint, the manager, memory and device."""
