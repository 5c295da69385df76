"""Where images come from. A source is one file here and one line in `source_registry`.

source           `ImageSource`: what every source can do
folder           a folder of files
source_registry  `open_source`: the source that a location names
"""
