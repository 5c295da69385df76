"""The index directory: what lies where, written so that a reader sees the old index or the new one.

layout           the names of its files
manifest         what an index is, and the digest of every file
integrity        every file against its digest
shards           images to shards of embeddings, pixels and records
writer           the directory, its lock and its commit
content          what a finished index holds beside the shards
reader           an index, opened and checked
filtered_search  neighbours among the rows that may answer
"""
