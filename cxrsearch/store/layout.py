"""The names in an index directory: `manifest.json` at its top, the rest in a folder named by the generation.

manifest.json
build.lock                  no part of the index
<generation>/
    catalogue.parquet       one row an image, in index order
    report.json             what was refused, and why
    typicality.json         distances of indexed images to their k-th neighbour of another patient
    encoder.safetensors     the encoder, so that the index answers queries by itself
    embeddings/NNNNN.npy    float32 (m, dim) shards
    pixels/NNNNN.npy        uint8 (m, side, side) shards, unless built without
    records/NNNNN.json      what each shard was made from, so that a later build can take it over
    search/...              the search structure's files, where its kind needs any
"""

MANIFEST, LOCK = "manifest.json", "build.lock"
CATALOGUE, REPORT, TYPICALITY, ENCODER = "catalogue.parquet", "report.json", "typicality.json", "encoder.safetensors"
EMBEDDINGS, PIXELS, RECORDS, SEARCH = "embeddings", "pixels", "records", "search"
