"""The names in an index directory: `manifest.json` at the top, all other files in a folder named by the generation.

manifest.json
build.lock                  held by a builder; not part of the index
<generation>/
    catalogue.parquet       one row per image, in index order
    report.json             which images were refused, and why
    typicality.json         distances of indexed images to their k-th neighbour of another patient
    encoder.safetensors     the encoder, so that the index answers queries without other files
    embeddings/NNNNN.npy    float32 (m, dim) shards
    pixels/NNNNN.npy        uint8 (m, side, side) shards, unless built without pixels
    records/NNNNN.json      what each shard was made from, so that a later build can reuse it
    search/...              the search structure's files, if its kind has any
"""

MANIFEST, LOCK = "manifest.json", "build.lock"
CATALOGUE, REPORT, TYPICALITY, ENCODER = "catalogue.parquet", "report.json", "typicality.json", "encoder.safetensors"
EMBEDDINGS, PIXELS, RECORDS, SEARCH = "embeddings", "pixels", "records", "search"
