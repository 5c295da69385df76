"""The command line of cxrsearch."""
