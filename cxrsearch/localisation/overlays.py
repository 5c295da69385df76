"""Sheets of heat maps: where the network sees the findings of an image, and what makes it like another image."""

import numpy as np
from PIL import Image

from cxrsearch.localisation.localise import Alike, Localised
from cxrsearch.report import style
from cxrsearch.report.contact_sheet import Tile
from cxrsearch.report.overlay import Layer, overlay_sheet

MOST_SHOWN = 4
"""Number of findings that are drawn if none were named."""

_NO_BOXES = np.zeros((0, 4))
_COARSE = "A heat map is as coarse as the network's feature map: a place means its surroundings, too."


def localised_sheet(result: Localised, most: int = MOST_SHOWN) -> Image.Image:
    """Draw an image and the heat maps of its first `most` findings, as an RGB image."""
    exact = result.found.method == "cam"
    cells = result.found.maps[0].size if exact else 1
    layers = [
        Layer(
            result.pixels,
            result.shown[row] / cells,
            finding.replace("_", " "),
            [f"probability {result.found.probabilities[row]:.1%}"],
            result.stored_boxes(row),
        )
        for row, finding in enumerate(result.found.findings[:most])
    ]
    return overlay_sheet(
        Tile(result.pixels, _name(result.image), [], emphasised=True),
        layers,
        title=f"Where {result.encoder} sees its findings",
        names=("image", "findings" if len(layers) > 1 else "finding"),
        scale="what a cell of the heat map adds to the finding's logit" if exact else "Grad-CAM, in arbitrary units",
        footer=f"{_COARSE} {style.DISCLAIMER}.",
    )


def alike_sheet(result: Alike) -> Image.Image:
    """Draw an image and an indexed image, each with a heat map of what makes it like the other, as an RGB image."""
    cells = result.maps[0].size
    image = Layer(result.pixels, result.shown[0] / cells, _name(result.image), ["what is like the other"], _NO_BOXES)
    other = Layer(result.other_pixels, result.shown[1] / cells, result.other, ["what is like the image"], _NO_BOXES)
    bare = Tile(result.pixels, _name(result.image), [f"cosine {result.cosine:.4f}"], emphasised=True)
    return overlay_sheet(
        bare,
        [image, other],
        title="Which regions make two images alike",
        names=("image", "image and indexed image"),
        scale="what a cell adds to the product of the embeddings",
        footer=f"{_COARSE} {style.DISCLAIMER}.",
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2]
