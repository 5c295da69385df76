"""The visual language: figures and sheets from plain values. Knows no analysis and no index.

style           colours, sizes, spacing, shared with the page
drawing         lines and panels of a figure
contact_sheet   images in a grid, with text
overlay         maps and boxes over an image
template        pages made of a template
findings_chart  a line per finding
"""
