"""A small world whose truth is known is learned; `benchmarks/phantom_training.py` is a larger one."""

from pathlib import Path

import pytest

from cxrsearch.building.build import build_index
from cxrsearch.evaluation.evaluate import Question, evaluate_index
from cxrsearch.phantom.write import make_phantom
from cxrsearch.query.index import open_index
from cxrsearch.training.request import Training
from cxrsearch.training.train import train


@pytest.mark.slow
def test_findings_of_the_phantom_are_learned(tmp_path: Path) -> None:
    """1,000 images, half to test, 8 epochs: head and votes beat chance, and the head beats grey levels and the view."""
    data = make_phantom(tmp_path / "data", 1000, size=128, workers=2).folder
    images, table = data / "images", data / "Data_Entry_2017.csv"
    changes = {"arch": "densenet121", "weights": "random:0", "size": 64, "epochs": 8}
    training = Training(config="modern", changes=changes, split="patient-hash:0.4/0.1/0.5")
    run = train(images, table, training, out=tmp_path / "run")
    build_index(images, table, index=tmp_path / "index", weights=str(run.path))
    question = Question(models=("knn",), baselines=("view", "histogram"), replicates=500)
    metrics = evaluate_index(open_index(tmp_path / "index"), question).metrics
    means = {name: found.auroc.mean for name, found in metrics.items()}
    assert means["densenet"].findings >= 8
    assert means["densenet"].low > 0.55
    assert means["knn"].low > 0.5
    assert means["densenet"].point > max(means["baseline-view"].point, means["baseline-histogram"].point)
