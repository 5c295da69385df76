"""Tables of images as data sets ship them. A format is one file here and one line in `format_registry`.

table_format     `TableFormat`: recognised by its header, read into a catalogue
nih              NIH's Data_Entry table, of either generation
plain            image, patient, findings
format_registry  `read_table`: the catalogue of a table of any known format
"""
