"""The visual language: figures and sheets from plain values. Nothing here knows an analysis or an index.

style           colours, sizes and spacing, shared with the page
drawing         a figure with title, legend and notes
contact_sheet   images in a grid, with text
overlay         heat maps and boxes over an image
template        pages made of a template
findings_chart  a chart with a line per finding
"""
