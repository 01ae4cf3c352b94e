"""The command line: the command tree, its help, and one function per command."""
