"""Two training recipes, or starts, against each other, on the same folds of the same images, for equally many passes.

    python benchmarks/recipes.py [IMAGES TABLE] [--recipes paper modern] [--weights random:0] [--folds 5] [--size 64]
      [--epochs 8] [--out D]

Both train DenseNet-121 from the same weights (or each from its own: `--recipes paper paper --weights random:0 RUN`),
at the same size and batch, so a step costs them the same but for what the recipes add, which `training_speed.py`
measures. IMAGES and TABLE default to a small phantom. Every image is scored by the encoder of its fold, which has seen
none of its patient's images. Prints the mean AUROC of the network's head, of the kNN vote (k = 20) on its embedding and
of a logistic regression there, and each time the paired difference of the two with its 95% patient-bootstrap interval,
beside grey levels and an untrained network. An interrupted run goes on where it was.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from _headline import headline

from cxrsearch.analysis.measures.bootstrap import MeanInterval, PatientBootstrap
from cxrsearch.analysis.measures.metrics import within_folds
from cxrsearch.evaluation.evaluate import Question, cross_validate
from cxrsearch.evaluation.evaluation_result import EvaluationResult
from cxrsearch.phantom.write import make_phantom
from cxrsearch.training.request import Training

COMPARED = ("densenet", "knn", "logistic")


@dataclass(frozen=True)
class Contender:
    """A recipe and what it starts from."""

    recipe: str
    weights: str

    def evaluated(self, options: argparse.Namespace, baselines: tuple[str, ...]) -> EvaluationResult:
        """Its cross-validation."""
        changes = {"arch": "densenet121", "weights": self.weights, "size": options.size, "epochs": options.epochs}
        cache = options.out / "pixels"
        return cross_validate(
            options.images,
            options.table,
            options.folds,
            Question(models=("knn", "logistic"), baselines=baselines),
            Training(config=self.recipe, changes=changes, cache=cache, workers=options.workers),
            out=options.out / f"{Path(self.recipe).stem}-{Path(self.weights).name}",
        )


def shown(interval: MeanInterval, sign: str = "") -> str:
    """A mean with its interval."""
    return f"{interval.point:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--recipes", nargs=2, default=["paper", "modern"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--weights", nargs="+", default=["random:0"], help="to start from, or one a recipe")
    parser.add_argument("--workers", type=int, help="processes that prepare images")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes"))
    options = parser.parse_args()
    if options.images is None:
        phantom = make_phantom(options.out / "phantom", 200, size=128)
        options.images, options.table = phantom.folder / "images", phantom.folder / "Data_Entry_2017.csv"
    if len(options.weights) > 2:
        parser.error("give one --weights, or two")
    one, other = map(Contender, options.recipes, [options.weights[0], options.weights[-1]])
    if one == other:
        parser.error("both are the same")
    first, second = one.evaluated(options, ("view", "histogram", "random")), other.evaluated(options, ())
    assert first.image_ids == second.image_ids
    print(f"{first.heading()}; {options.size} px, {options.epochs} epochs, DenseNet-121")
    print(f"A: {one.recipe} from {one.weights}; B: {other.recipe} from {other.weights}")
    print(f"mean over the {first.metrics['densenet'].auroc.mean.findings} findings with 10 positive patients or more")
    bootstrap = PatientBootstrap(first.scored.patients, first.replicates, first.seed)
    for model in COMPARED:
        b, a = (within_folds(result.scored.scores[model], result.scored.folds) for result in (second, first))
        apart = bootstrap.difference(first.scored.labels, b, a).mean
        means = [shown(result.metrics[model].auroc.mean) for result in (first, second)]
        print(f"{model:10} A {means[0]}  B {means[1]}  B - A {shown(apart, '+')}")
        what = f"AUROC of {other.recipe} ({other.weights}) minus {one.recipe} ({one.weights}), {model}"
        headline(what, apart.point, unit=f"[{apart.low:+.3f}, {apart.high:+.3f}]")
    for name, metrics in first.metrics.items():
        if name.startswith("baseline"):
            print(f"{name:24} {shown(metrics.auroc.mean)}")


if __name__ == "__main__":
    main()
