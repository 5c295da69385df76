"""Synthetic frontal chest X-rays with labelled and boxed findings, written in NIH's file formats.

write       `make_phantom`: a folder of images, the table and the boxes
signs       how each finding looks
"""
