"""The fourteen findings, each a small change to a chest that a reader would recognise.

A sign may `reshape` the anatomy before the chest is drawn (a wide heart, flat diaphragms), and then `draw` on the
chest's layers. It returns the extents of its changes, arrays from which boxes are taken. The strength varies within
limits that keep every sign visible on a film of 128 pixels. Descriptions follow Hansell et al. 2008, Fleischner
Society: glossary of terms for thoracic imaging, Radiology 246:697.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cxrsearch.phantom._anatomy import MIDLINE_GAP, SIDES, Anatomy
from cxrsearch.phantom._film import Chest
from cxrsearch.phantom._film_frame import Map, Points, Stroke, curve, ellipse
from cxrsearch.phantom._traits import Trait, ball, bell, noise, spot
from cxrsearch.phantom._vessels import tree


def _keep_shape(anatomy: Anatomy, trait: Trait) -> Anatomy:
    return anatomy


# --- one finding each -------------------------------------------------------------------------------------------------


def _collapse(anatomy: Anatomy, trait: Trait) -> Anatomy:
    raised = list(anatomy.raised)
    raised[trait.side > 0] += trait.between(1.5, 3.2)
    return replace(anatomy, raised=(raised[0], raised[1]), pull=anatomy.pull + 0.5 * trait.side)


def _atelectasis(chest: Chest, trait: Trait) -> list[Map]:
    """Plates of collapsed lung: thick lines above a raised diaphragm."""
    a, rng = chest.anatomy, trait.rng()
    x, y = a.dome(trait.side)
    strokes: list[Stroke] = []
    for step in range(2 + round(trait.strength)):
        tilt, half, cy = rng.uniform(-0.25, 0.35), rng.uniform(2.8, 4.2), y - 1.3 - 1.9 * step + rng.uniform(-0.3, 0.3)
        cx = x + rng.uniform(-0.8, 1.5) * trait.side
        ends = [(-half, tilt * half), (0, -0.25), (half, -tilt * half)]
        strokes.append((curve([(cx + dx * trait.side, cy + dy) for dx, dy in ends]), rng.uniform(0.4, 0.7), 1.0))
    plates = chest.frame.stroke(strokes, 0.2) * chest.lungs[trait.side]
    haze = bell(chest.frame, x, y, 5.0, 2.6) * np.float32(0.3)
    chest.fill(1 - (1 - 0.72 * plates) * (1 - haze * chest.lungs[trait.side]))
    return [plates]


def _wide_heart(anatomy: Anatomy, trait: Trait) -> Anatomy:
    share = trait.between(0.57, 0.68)
    return replace(anatomy, heart_width=2 * anatomy.half_width * share, heart_turn=anatomy.heart_turn - 0.03)


def _cardiomegaly(chest: Chest, trait: Trait) -> list[Map]:
    """A heart wider than half the thorax."""
    return [chest.frame.fill([chest.anatomy.heart()], 0.1)]


def _effusion(chest: Chest, trait: Trait) -> list[Map]:
    """Fluid that fills the costophrenic angle; its upper border is a meniscus that rises along the wall."""
    x, y = chest.frame.grid
    out = np.clip(x * trait.side / chest.anatomy.half_width, 0, 1)
    level = chest.anatomy.dome(trait.side)[1] + 2.2 - trait.between(4.2, 9.5) * (0.3 + 0.7 * out**2.5)
    fluid = np.clip((y - level) / 0.9 + 0.5, 0, 1) * chest.lungs[trait.side]
    chest.fill(fluid * np.float32(0.92))
    return [fluid]


def _infiltration(chest: Chest, trait: Trait) -> list[Map]:
    """Hazy, ill-defined patches, equally often in both lungs and in one."""
    rng, sides = trait.rng(), SIDES if trait.place[0] < 0.5 else (trait.side,)
    haze = np.zeros_like(chest.air)
    mottle = 0.75 + 0.2 * noise(chest.frame, rng, 0.8)
    for side in sides:
        for _ in range(6 // len(sides)):
            x, y = spot(chest.anatomy, replace(trait, side=side, place=(rng.random(), rng.random())), 1.0, low=0.25)
            haze += bell(chest.frame, x, y, rng.uniform(1.8, 3.3), rng.uniform(1.8, 3.3)) * chest.lungs[side]
    patchy: Map = np.clip(haze * mottle, 0, 1.1)
    chest.fill(patchy * np.float32(trait.between(0.34, 0.48)))
    return [patchy]


def _mass(chest: Chest, trait: Trait) -> list[Map]:
    """A lump more than 3 cm across."""
    radius = trait.between(1.8, 3.3)
    x, y = spot(chest.anatomy, trait, radius)
    lump = ball(chest.frame, x, y, radius, trait.rng(), 0.05)
    chest.added += lump * np.float32(0.9 * radius + 2.6)
    return [lump]


def _nodule(chest: Chest, trait: Trait) -> list[Map]:
    """One to three round spots less than 3 cm across."""
    rng = trait.rng()
    lumps: list[Map] = []
    for number in range(1 + int(3 * trait.place[0] ** 1.5)):
        radius = trait.between(0.85, 1.3) * rng.uniform(0.9, 1.1)
        at = trait if number == 0 else replace(trait, side=SIDES[rng.integers(2)], place=(rng.random(), rng.random()))
        lumps.append(ball(chest.frame, *spot(chest.anatomy, at, radius), radius, rng, 0.02))
        chest.added += lumps[-1] * np.float32(3.4)
    return lumps


def _pneumonia(chest: Chest, trait: Trait) -> list[Map]:
    """A dense patch with a soft border, in which air-filled bronchi stay dark."""
    frame, rng = chest.frame, trait.rng()
    rx, ry = trait.between(2.8, 4.2), trait.between(3.0, 4.6)
    x, y = spot(chest.anatomy, trait, 2.4, low=0.2)
    grain = noise(frame, rng, 1.3)
    patch = bell(frame, x, y, rx, ry) * (np.float32(0.42) * grain + np.float32(1.7)) - np.float32(0.12)
    patch = np.clip(patch, 0, 1) * chest.lungs[trait.side]
    root = np.array(chest.anatomy.hilum(trait.side))
    heading = np.arctan2(y - root[1], abs(x - root[0]))
    start = np.array([[x - 0.5 * trait.side * np.cos(heading) * rx, y - 0.5 * np.sin(heading) * ry]])
    bronchi = frame.stroke(tree(start, np.array([heading]), trait.side, rng, generations=3), 0.1)
    chest.fill(patch * np.float32(trait.between(0.6, 0.78)) * (1 - np.float32(0.55) * bronchi))
    return [patch]


def _pneumothorax(chest: Chest, trait: Trait) -> list[Map]:
    """Air outside a shrunken lung: a fine line beside the wall, and beyond it a black area without vessels."""
    a, frame = chest.anatomy, chest.frame
    gap = trait.between(2.0, 4.6)
    y = np.linspace(0.3, a.angle(trait.side)[1], 40)
    taper = np.interp(y / a.length, [0, 0.5, 1.1], [1.0, 0.85, 0.3])
    edge = np.stack([np.maximum(a.wall(np.maximum(y - 0.9 * gap, 0.05)) - gap * taper, MIDLINE_GAP), y], axis=1)
    edge *= [trait.side, 1]
    lung = np.concatenate([edge, [[MIDLINE_GAP * trait.side, y[-1]], [MIDLINE_GAP * trait.side, 1.2 * gap]]])
    outside: Map = chest.lungs[trait.side] * (1 - frame.fill([lung], 0.06))
    line = frame.stroke([(edge[edge[:, 1] > gap], 0.16, 1.0)], 0.05) * chest.lungs[trait.side]
    chest.vessels = chest.vessels * (1 - outside)
    chest.air = chest.air * (1 + 0.12 * outside)
    chest.filled = chest.filled * (1 - 0.9 * outside)
    chest.fill(np.float32(0.16) * (chest.lungs[trait.side] - outside))
    chest.added = chest.added + 1.6 * line
    return [outside]


def _consolidation(chest: Chest, trait: Trait) -> list[Map]:
    """A lobe without air, white up to the straight edge of a fissure."""
    a = chest.anatomy
    x, y = chest.frame.grid
    upper = trait.place[1] < 0.5
    fissure = 0.47 * a.length + (0.12 if upper else -0.3) * (np.abs(x) - 6.0)
    beyond = np.clip((fissure - y if upper else y - fissure) / 0.3 + 0.5, 0, 1)
    reach = trait.between(5.5, 9.0)
    fade = np.clip(1 + (reach - np.abs(y - fissure)) / 3.5, 0, 1)
    mottle = np.clip(0.93 + 0.07 * noise(chest.frame, trait.rng(), 1.5), 0, 1)
    lobe = beyond * fade * mottle * chest.lungs[trait.side]
    chest.fill(lobe * np.float32(trait.between(0.7, 0.85)))
    return [lobe]


def _edema(chest: Chest, trait: Trait) -> list[Map]:
    """Bat-wing haze around both hila, thick vessels, and short lines at the outer border of the bases (Kerley B)."""
    a, frame, rng = chest.anatomy, chest.frame, trait.rng()
    wings = np.zeros_like(chest.air)
    kerley: list[Stroke] = []
    for side in SIDES:
        x, y = a.hilum(side)
        wings += bell(frame, x + 2.6 * side, y + 1.5, 4.4, 6.0) * chest.lungs[side]
        for level in np.arange(0.62, 0.98, 0.045) * a.length + rng.uniform(-0.2, 0.2):
            outer = side * float(a.wall(np.array(level)))
            kerley.append((np.array([[outer, level], [outer - 1.8 * side, level + 0.1]]), 0.13, 1.0))
    mottle = np.clip(0.85 + 0.12 * noise(frame, rng, 0.6), 0, 1.3)
    chest.vessels = np.minimum(chest.vessels * 1.5, 1.3)
    chest.fill(np.clip(wings * mottle * trait.between(0.55, 0.75), 0, 0.9))
    chest.added = chest.added + np.float32(1.2) * frame.stroke(kerley, 0.05) * (chest.lungs[-1] + chest.lungs[1])
    return [wings]


def _blown_up(anatomy: Anatomy, trait: Trait) -> Anatomy:
    return replace(
        anatomy,
        length=anatomy.length + trait.between(2.5, 4.5),
        dome_depth=trait.between(1.8, 0.8),
        raised=(min(anatomy.raised[0], 0.5), min(anatomy.raised[1], 0.5)),
        heart_width=anatomy.heart_width * trait.between(0.85, 0.75),
        rib_pitch=anatomy.rib_pitch * 1.08,
        rib_slope=anatomy.rib_slope * 0.85,
    )


def _emphysema(chest: Chest, trait: Trait) -> list[Map]:
    """Long, dark, overfilled lungs with few vessels, over flat diaphragms."""
    both = np.minimum(chest.lungs[-1] + chest.lungs[1], 1)
    chest.air = chest.air * np.float32(trait.between(1.1, 1.2))
    chest.vessels = chest.vessels * np.float32(trait.between(0.55, 0.3))
    return [both]


def _fibrosis(chest: Chest, trait: Trait) -> list[Map]:
    """A coarse net of lines, at the bases and the outer zones, or at the apices."""
    a, frame, rng = chest.anatomy, chest.frame, trait.rng()
    x, y = frame.coarse_grid
    down = y / a.length
    zone = np.clip(1.2 - down / 0.42, 0, 1) if trait.place[0] < 0.2 else np.clip((down - 0.36) / 0.3, 0, 1)
    outwards = np.clip(np.abs(x) / a.half_width * 1.3 - 0.1, 0, 1)
    weight = frame.smooth((zone * outwards).astype(np.float32)) * (chest.lungs[-1] + chest.lungs[1])
    net = sum(share * np.exp(-((noise(frame, rng, cell) / 0.35) ** 2)) for cell, share in ((0.85, 0.7), (0.5, 0.6)))
    patchy = np.clip(0.75 + 0.35 * noise(frame, rng, 3.0), 0.2, 1.2)
    chest.fill(np.clip((net * patchy + 0.12) * np.minimum(weight * 1.6, 1) * trait.between(0.46, 0.6), 0, 0.75))
    return [weight]


def _pleural_thickening(chest: Chest, trait: Trait) -> list[Map]:
    """A white band along the chest wall with an uneven inner border, or a cap on an apex."""
    a, rng = chest.anatomy, trait.rng()
    cap = trait.place[0] < 0.3
    top, bottom = (0.25, 0.2 * a.length) if cap else (0.28 * a.length, a.angle(trait.side)[1] - 1.0)
    y = np.linspace(top, bottom, 40)
    uneven = 1 + 0.18 * np.sin(np.linspace(0, rng.uniform(8, 14), 40) + rng.uniform(0, 6))
    thick = trait.between(1.1, 1.9) * uneven * np.interp(y, [top, top + 2, bottom - 2, bottom], [0.6, 1, 1, 0.5])
    inner = np.maximum(a.wall(np.maximum(y - 1.2 * cap, 0.05)) - thick, 0.5)
    band = np.concatenate([np.stack([a.wall(y) + 0.3, y], 1), np.stack([inner, y], 1)[::-1]]) * [trait.side, 1]
    rind = chest.frame.fill([band], 0.12) * chest.lungs[trait.side]
    chest.fill(rind * np.float32(0.9))
    chest.added = chest.added + rind * np.float32(1.2)
    return [rind]


def hernia(chest: Chest, trait: Trait, *, scale: float = 1.0, contrast: float = 1.0) -> list[Map]:
    """Stomach behind the heart: a round shadow above the diaphragm with air over a level of fluid.

    `scale` and `contrast` above 1 make it larger and clearer than usual; 1 changes nothing.
    """
    a, frame = chest.anatomy, chest.frame
    radius = trait.between(3.2, 4.6) * scale
    x, y = a.pull + trait.side * 0.6 + 0.8, a.length - 0.55 * radius
    pouch = frame.fill([ellipse(x, y, radius * 1.15, radius)], 0.2)
    gas = frame.fill([_gas(x, y, radius)], 0.15)
    chest.fill(pouch * np.float32(0.75))
    chest.added = chest.added + pouch * np.float32(1.2 * contrast) - gas * np.float32(4.5 * contrast)
    return [pouch]


def _gas(x: float, y: float, radius: float) -> Points:
    """The upper part of the pouch, cut flat by the fluid."""
    t = np.linspace(np.pi * 1.02, np.pi * 1.98, 30)
    return np.stack([x + 0.95 * radius * np.cos(t), y + 0.08 * radius + 0.84 * radius * np.sin(t)], axis=1)


@dataclass(frozen=True)
class Sign:
    """How a finding shows on a film.

    Attributes:
        draw: draws on the chest's layers; returns the extent of each change, float32 (size, size).
        reshape: changes the anatomy before the chest is drawn; nothing by default.
    """

    draw: Callable[[Chest, Trait], list[Map]]
    reshape: Callable[[Anatomy, Trait], Anatomy] = _keep_shape


SIGNS = {
    "Emphysema": Sign(_emphysema, _blown_up),
    "Cardiomegaly": Sign(_cardiomegaly, _wide_heart),
    "Pneumothorax": Sign(_pneumothorax),
    "Atelectasis": Sign(_atelectasis, _collapse),
    "Fibrosis": Sign(_fibrosis),
    "Infiltration": Sign(_infiltration),
    "Edema": Sign(_edema),
    "Pneumonia": Sign(_pneumonia),
    "Consolidation": Sign(_consolidation),
    "Pleural_Thickening": Sign(_pleural_thickening),
    "Effusion": Sign(_effusion),
    "Mass": Sign(_mass),
    "Nodule": Sign(_nodule),
    "Hernia": Sign(hernia),
}
"""In order of application: signs that change the shape and air of the lungs come first, those on top come last."""
