"""The AUROC values in Table 2 of the paper (Wu and Yang): a DenseNet-169, on the test part of the paper's split."""

from collections.abc import Sequence

MODELS = ("chexnet", "densenet", "forest", "knn", "ensemble")
"""The columns: CheXNet as re-implemented by others, DenseNet-169, random forest, kNN, mean of DenseNet and forest."""

TABLE_2 = {
    "Atelectasis": (0.8094, 0.8280, 0.8267, 0.7252, 0.8291),
    "Cardiomegaly": (0.9248, 0.9147, 0.8909, 0.6945, 0.9117),
    "Effusion": (0.8638, 0.8888, 0.8820, 0.8047, 0.8889),
    "Infiltration": (0.7345, 0.7201, 0.7117, 0.6598, 0.7220),
    "Mass": (0.8676, 0.8524, 0.8645, 0.6366, 0.8517),
    "Nodule": (0.7802, 0.7849, 0.7741, 0.5978, 0.7872),
    "Pneumonia": (0.7680, 0.7644, 0.7603, 0.6062, 0.7685),
    "Pneumothorax": (0.8887, 0.8816, 0.8974, 0.7594, 0.8795),
    "Consolidation": (0.7901, 0.8092, 0.8164, 0.6997, 0.8101),
    "Edema": (0.8878, 0.8941, 0.9071, 0.7805, 0.8914),
    "Emphysema": (0.9371, 0.9222, 0.8883, 0.7125, 0.9310),
    "Fibrosis": (0.8047, 0.8397, 0.8029, 0.6391, 0.8403),
    "Pleural_Thickening": (0.8062, 0.7918, 0.8149, 0.6752, 0.7940),
    "Hernia": (0.9164, 0.8903, 0.8454, 0.6122, 0.8712),
}
MEANS = (0.8414, 0.8416, 0.8345, 0.6860, 0.8412)

OTHER_SPLIT = (
    "The paper's Table 2 is not shown beside these numbers: it is of part test of the split paper, and AUROC of "
    "different splits cannot be compared."
)


def published_auroc(split: str, part: str, findings: Sequence[str]) -> dict[str, list[float]]:
    """The paper's AUROC of each finding, then the mean, by model; empty if other images were scored.

    Args:
        split: the definition of the split.
        part: the scored part.
        findings: their names. A finding that the paper does not have is nan. So is the mean, unless these are exactly
            the paper's 14 findings.
    """
    if split.split(":", 1)[0] != "paper" or part != "test":
        return {}
    unknown = (float("nan"),) * len(MODELS)
    means = MEANS if set(findings) == set(TABLE_2) else unknown
    rows = [*(TABLE_2.get(finding, unknown) for finding in findings), means]
    return {model: [row[i] for row in rows] for i, model in enumerate(MODELS)}
