"""From images and tables to radiographs and a catalogue of them. Needs neither torch nor FAISS.

sources/        where images come from; a kind of source is a file there
formats/        tables of images as data sets ship them; a format is a file there
image_file      files on disk, opened and read within bounds
radiograph      one image's bytes to 8-bit grey pixels, and its digests
dicom_tags      what a DICOM header says of an image
preprocess      a radiograph to stored pixels, and these to the network's input
loading         one image of a source to stored and network pixels; a refusal is a value
pixel_cache     stored pixels on disk
findings        a vocabulary of findings
tables          the cells of a table of images
catalogue       the table of images
matching        which image belongs to which row of a table
patients        patient ids: hashes of DICOM ids, patterns of file names
splits          train, val and test, no patient in two
holdout         a finding that is held out
boxes           boxes that readers drew around findings
"""
