"""The machine and the terminal: durable files, limits of memory, interruption, output and progress."""
