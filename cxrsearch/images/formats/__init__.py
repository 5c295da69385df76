"""Table formats that data sets ship. A new format is one file here and one line in `format_registry`.

table_format     `TableFormat`: recognises a header and reads the table into a catalogue
nih              NIH's Data_Entry table, of 2017 or 2020
plain            a CSV with the columns image, patient, findings
format_registry  `read_table`: read a table of any known format
"""
