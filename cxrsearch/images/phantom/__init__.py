"""Synthetic chest X-rays with known truth, so that demo, tests and benchmarks have a world of any size.

labels    which findings an image has          frame     centimetres and pixels
patient   who is on a film, how it was taken   anatomy, bones, vessels   a chest's outlines
signs     what each finding changes            film      thickness, tones
draw      pixels and boxes                     write     NIH's file formats
"""

from cxrsearch.images.phantom.write import PhantomSet, make_phantom

__all__ = ["PhantomSet", "make_phantom"]
