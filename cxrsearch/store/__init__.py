"""The index directory. It is written so that a reader sees either the old index or the new one.

layout           the names of its files
manifest         what an index is, and the digest of every file
integrity        check every file against its digest
shards           embed images into shards of embeddings, pixels and records
writer           write the directory: lock, resume, commit
content          what a finished index holds beside the shards
reader           open and check an index
filtered_search  find neighbours among the rows that may answer
"""
