"""The index directory: what lies in it, how it is written, checked and searched."""
