"""Synthetic frontal chest X-rays with labelled and boxed findings, written in NIH's file formats.

write       `make_phantom`: a folder of images, their table and their boxes
signs       how each finding looks on a film
"""
