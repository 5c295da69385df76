"""Sources of images. A new kind of source is one file here and one line in `source_registry`.

source           `ImageSource`: the interface of every source
folder           a folder of files
source_registry  `open_source`: open the source that a location names
"""
