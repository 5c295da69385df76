"""Read images and tables: decoded radiographs, and a catalogue of them. Needs neither torch nor FAISS.

sources/        where images come from; each kind of source is one file
formats/        table formats that data sets ship; each format is one file
image_file      open and read files on disk within bounds
radiograph      decode one image to 8-bit grey pixels, with its digests
dicom_tags      the tags of a DICOM header that a catalogue uses
preprocess      radiograph to stored pixels, stored pixels to the network's input
loading         load one image of a source; a refused image is returned, not raised
pixel_cache     stored pixels on disk
findings        a vocabulary of findings
tables          the cells of a table of images
catalogue       the table of images
matching        match images to the rows of a table
patients        patient ids: hashed DICOM ids, patterns of file names
splits          train, val and test, no patient in two of them
holdout         a held-out finding
boxes           boxes that readers drew around findings
"""
