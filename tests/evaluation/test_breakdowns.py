"""Strata, retrieval, fractions and the paper's column of an evaluation, against direct computations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve
from typer.testing import CliRunner

from cxrsearch.analysis.evaluation.evaluate_scores import Scored
from cxrsearch.analysis.evaluation.fractions import fraction_curve
from cxrsearch.analysis.evaluation.published import MEANS, TABLE_2, published_auroc
from cxrsearch.analysis.evaluation.stratified import stratify
from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.analysis.measures.metrics import calibration_error
from cxrsearch.analysis.measures.roc import GRID, reliability, roc_curve
from cxrsearch.analysis.models.knn_model import Searches
from cxrsearch.analysis.models.model import Sample
from cxrsearch.building.imported import import_embeddings
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.evaluation.evaluate import Question, cross_validate, evaluate_index
from cxrsearch.evaluation.evaluation_result import EvaluationResult
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.query.index import Index, open_index
from cxrsearch_cli.app import app

N = 240
QUESTION = Question(
    replicates=40, models=("knn",), strata=True, retrieval=True, k=5, fractions=(0.1, 1.0), baselines=("view",)
)
MASS = NIH_FINDINGS.index("Mass")


def made(folder: Path, **columns: Any) -> Path:
    """240 images, two a patient; dimension 0 tells Mass; half of the patients are scored."""
    rng = np.random.default_rng(0)
    mass, effusion = rng.random(N) < 0.4, rng.random(N) < 0.3
    embeddings = rng.standard_normal((N, 4)).astype(np.float32)
    embeddings[:, 0] += 2 * mass
    findings = [
        "|".join(n for n, y in (("Mass", m), ("Effusion", e)) if y) for m, e in zip(mass, effusion, strict=True)
    ]
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(N)], "patient": [f"p{i // 2}" for i in range(N)]})
    split = np.repeat(np.array(["train", "test", "val", "test"] * (N // 8)), 2)
    table = table.assign(findings=findings, split=split, **columns)
    table.to_csv(folder / "table.csv", index=False)
    np.save(folder / "x.npy", embeddings)
    import_embeddings(folder / "x.npy", folder / "table.csv", index=folder / "index", metric="cosine")
    return folder / "index"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ages = np.repeat(np.arange(N // 2) % 90, 2)
    views = np.where(np.arange(N) % 3 == 0, "AP", "PA")
    return made(tmp_path_factory.mktemp("parts"), view=views, sex=np.repeat(["F", "M"], N // 2), age=ages)


@pytest.fixture(scope="module")
def index(folder: Path) -> Index:
    return open_index(folder)


@pytest.fixture(scope="module")
def result(index: Index) -> EvaluationResult:
    return evaluate_index(index, QUESTION)


def scored_rows(index: Index) -> NDArray[np.int64]:
    return np.flatnonzero(index.catalogue.frame["split"] == "test")


def test_a_stratum_is_an_evaluation_of_its_images(result: EvaluationResult, index: Index) -> None:
    frame = index.catalogue.frame.iloc[scored_rows(index)]
    masks = {"view PA": frame["view"] == "PA", "sex F": frame["sex"] == "F", "age 40-59": frame["age"].between(40, 59)}
    by_name = {stratum.name: stratum for stratum in result.strata}
    patients = pd.factorize(frame["patient"])[0]
    assert list(by_name) == [
        *("view PA", "view AP", "sex F", "sex M"),
        *("age 0-17", "age 18-39", "age 40-59", "age 60-79", "age 80+"),
    ]
    for name, column in masks.items():
        mask, stratum = column.to_numpy(dtype=bool), by_name[name]
        assert stratum.images == mask.sum()
        assert stratum.patients == frame["patient"][mask].nunique()
        labels, scores = result.scored.labels[mask, MASS], result.scored.scores["knn"][mask, MASS]
        assert stratum.auroc["knn"].point[MASS] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        bootstrap = PatientBootstrap(patients[mask], 40, 0)
        direct = bootstrap.auroc(result.scored.labels[mask], result.scored.scores["knn"][mask])
        own = stratum.auroc["knn"]
        np.testing.assert_array_equal([own.low, own.high], [direct.low, direct.high])
    assert by_name["sex F"].findings == 2


def test_view_alone_is_worth_nothing_within_a_view(result: EvaluationResult) -> None:
    for stratum in result.strata[:2]:
        assert stratum.auroc["baseline-view"].mean.point == 0.5


def test_strata_of_a_cross_validation_are_of_ranks_within_whole_folds() -> None:
    """The second fold's model scores 10 higher, which must count for nothing."""
    rng = np.random.default_rng(1)
    labels, folds = rng.random((120, 1)) < 0.4, np.repeat([0, 1], 60)
    scores, mask = rng.random((120, 1)) + labels, rng.random(120) < 0.6
    moved = scores + 10 * folds[:, None]
    found = stratify(Scored(labels, np.arange(120), {"m": moved}, {}, folds), {"some": mask}, replicates=5)
    ranks = np.concatenate([(np.argsort(np.argsort(scores[folds == f, 0])) + 0.5) / 60 for f in (0, 1)])
    assert found[0].auroc["m"].point[0] == pytest.approx(roc_auc_score(labels[mask, 0], ranks[mask]), abs=1e-12)


def brute(index: Index, k: int, *, same_patient: bool) -> tuple[float, float]:
    """P@k and hit@k of all scored images, by sorting all distances."""
    x, labels = np.concatenate(index.stored.blocks).astype(np.float64), index.catalogue.labels
    assert labels is not None
    patients, full = index.catalogue.patient_groups(), np.hstack([labels, ~labels.any(axis=1, keepdims=True)])
    precisions = []
    for row in scored_rows(index):
        distance = cdist(x[row : row + 1], x, "cosine")[0]
        distance[(np.arange(N) == row) if same_patient else (patients == patients[row])] = np.inf
        nearest = np.argsort(distance, kind="stable")[:k]
        precisions.append((full[nearest] & full[row]).any(axis=1).mean())
    return float(np.mean(precisions)), float(np.mean(np.array(precisions) > 0))


def test_retrieval_by_brute_force_in_the_indexs_metric(result: EvaluationResult, index: Index) -> None:
    quality = result.retrieval
    assert quality is not None
    for summary, same in ((quality.others, False), (quality.everyone, True)):
        everything = len(NIH_FINDINGS) + 1
        assert summary.values.point[everything, :2] == pytest.approx(brute(index, 5, same_patient=same), abs=1e-12)
        assert summary.values.images[everything] == N / 2
    assert quality.others.values.point[MASS, 0] > quality.others.chance[MASS, 0]


def test_how_often_the_nearest_image_is_the_same_patients(result: EvaluationResult, index: Index) -> None:
    quality = result.retrieval
    assert quality is not None
    x, patients = np.concatenate(index.stored.blocks).astype(np.float64), index.catalogue.patient_groups()
    distances = cdist(x, x, "cosine")
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1, kind="stable")[scored_rows(index), :5]
    same = patients[near] == patients[scored_rows(index)][:, None]
    expected = [same[:, 0].mean(), same.mean(), 1 / (N - 1)]
    np.testing.assert_allclose(quality.own.point, [expected, expected], atol=1e-12)


def test_fractions_are_those_of_the_training_part(result: EvaluationResult, index: Index) -> None:
    x, labels = np.concatenate(index.stored.blocks), index.catalogue.labels
    assert labels is not None
    rows = [np.flatnonzero(index.catalogue.frame["split"] == part) for part in ("train", "test")]
    bank, queries = (Sample(x[part], labels[part], index.catalogue.patient_groups()[part]) for part in rows)
    direct = fraction_curve(bank, queries, Searches(), fractions=(0.1, 1.0))
    curve = result.fractions
    assert curve is not None
    np.testing.assert_array_equal(curve.mean, direct.mean)
    assert curve.mean.shape == (2, 10)
    assert curve.mean[1, 0] == pytest.approx(result.metrics["knn"].auroc.mean.point, abs=1e-12)


def test_json_of_the_parts_holds_the_values(result: EvaluationResult) -> None:
    got = json.loads(json.dumps(result.to_json(), allow_nan=False))
    row = next(r for r in got["strata"]["rows"] if (r["stratum"], r["finding"], r["model"]) == ("sex F", "Mass", "knn"))
    own = result.strata[2].auroc["knn"]
    assert row["auroc"] == own.point[MASS]
    assert (row["auroc_low"], row["auroc_high"]) == (own.low[MASS], own.high[MASS])
    assert (row["positives"], row["patients"]) == (own.positives[MASS], own.positive_patients[MASS])
    assert got["strata"]["means"][4]["auroc"] == own.mean.point
    quality, curve = result.retrieval, result.fractions
    assert quality is not None
    assert curve is not None
    groups = [row["group"] for row in got["retrieval"]["rows"]]
    assert groups[-3:] == ["No Finding", "all", "with findings"]
    mass = got["retrieval"]["rows"][MASS]
    assert mass["ndcg"] == quality.others.values.point[MASS, 3]
    assert mass["hit_chance"] == quality.others.chance[MASS, 1]
    assert got["retrieval"]["rows_same_patient_allowed"][MASS]["ndcg"] == quality.everyone.values.point[MASS, 3]
    assert got["retrieval"]["rows"][NIH_FINDINGS.index("Hernia")]["ndcg"] is None
    assert got["retrieval"]["same_patient"]["all"]["share"] == quality.own.point[1, 1]
    first = got["fractions"]["rows"][0]
    assert (first["auroc_lowest"], first["auroc_highest"]) == (curve.mean[0].min(), curve.mean[0].max())
    assert first["auroc"] == pytest.approx(curve.mean[0].mean())
    assert got["published"] is None


def test_what_is_not_asked_for_is_null(index: Index) -> None:
    got = evaluate_index(index, Question(replicates=2, models=("knn",), baselines=())).to_json()
    assert [got[key] for key in ("strata", "retrieval", "fractions")] == [None] * 3


def test_strata_need_a_view_a_sex_or_an_age(tmp_path: Path) -> None:
    question = Question(replicates=2, models=("knn",), baselines=(), strata=True)
    with pytest.raises(CatalogueError, match="no strata"):
        evaluate_index(open_index(made(tmp_path)), question)


@pytest.mark.parametrize("fields", [{"k": 0}, {"fractions": (0.0,)}, {"fractions": (1.5,)}])
def test_numbers_that_cannot_be_meant(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="k of at least 1"):
        Question(**fields)


@pytest.mark.parametrize("question", [Question(retrieval=True), Question(fractions=(1.0,))])
def test_folds_have_no_index_in_common(question: Question, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not supported with --cv"):
        cross_validate(tmp_path, tmp_path / "x.csv", 2, question, out=tmp_path)


def test_the_papers_numbers_are_of_part_test_of_its_split_only() -> None:
    columns = published_auroc("paper:lists", "test", NIH_FINDINGS)
    assert columns["densenet"][MASS] == 0.8524
    assert columns["knn"][-1] == 0.6860
    for split, part in (("paper", "val"), ("column", "test"), ("paperback", "test")):
        assert published_auroc(split, part, NIH_FINDINGS) == {}
    assert np.isnan(published_auroc("paper", "test", ("Mass", "Gout"))["forest"][1:]).all()


def test_the_papers_means_are_those_of_its_rows() -> None:
    """To a unit of the last printed digit."""
    assert set(TABLE_2) == set(NIH_FINDINGS)
    np.testing.assert_allclose(np.mean(list(TABLE_2.values()), axis=0), MEANS, atol=1.5e-4)


def test_roc_curves_are_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    labels, patients = rng.random(300) < 0.3, rng.integers(0, 100, 300)
    scores = np.round(rng.random(300) + 0.3 * labels, 1)
    curve = roc_curve(labels, scores, patients, replicates=30)
    across, up, _ = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.tpr, np.interp(GRID, across, up), atol=1e-12)
    names, patient = np.unique(patients, return_inverse=True)
    drawn = []
    for times in PatientBootstrap(patients, 30, 0).multiplicities(range(30)).T:
        weights = times[patient]
        x, y, _ = sklearn_roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
        drawn.append(np.interp(GRID, x, y))
    assert len(names) < 100
    np.testing.assert_allclose([curve.low, curve.high], np.percentile(drawn, (2.5, 97.5), axis=0), atol=1e-12)
    few = roc_curve(labels & (patients < 9), scores, patients, replicates=5)
    assert np.isnan(few.low).all()
    assert not np.isnan(few.tpr).any()
    assert np.isnan(roc_curve(labels & False, scores, patients, replicates=5).tpr).all()


def test_reliability_has_the_bins_of_the_calibration_error() -> None:
    rng = np.random.default_rng(3)
    probability = rng.random(150)
    labels = rng.random(150) < probability**2
    predicted, happened = reliability(labels, probability)
    assert len(predicted) == 15
    expected = calibration_error(labels[:, None], probability[:, None])[0]
    assert np.abs(predicted - happened).mean() == pytest.approx(expected, abs=1e-12)  # equally many in each


@pytest.mark.parametrize("width", [80, 160])
def test_tables_of_the_command(folder: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    options = ["--index", str(folder), "--models", "knn", "--baselines", "view", "--replicates", "20"]
    options += ["--strata", "--retrieval", "-k", "5", "--fractions", "0.1,1"]
    answer = CliRunner().invoke(app, ["evaluate", *options])
    assert answer.exit_code == 0, answer.output
    assert max(map(len, answer.stdout.splitlines())) <= max(width, 120)
    for word in ("age 80+", "nDCG@5", "with findings", "mean AUROC over 2 findings", "by chance"):
        assert word in answer.stdout


def test_fractions_that_are_no_numbers(folder: Path) -> None:
    answer = CliRunner().invoke(app, ["evaluate", "--index", str(folder), "--fractions", "some"])
    assert answer.exit_code == 2
    assert "not numbers" in answer.output


def test_the_papers_numbers_stand_beside_ours_on_its_split(folder: Path, tmp_path: Path) -> None:
    """The same images, given once by the table's column and once as the paper's lists."""
    frame = pd.read_csv(folder.parent / "table.csv")
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}_list.txt").write_text("\n".join(frame["image"][frame["split"] == part]))
    options = ["evaluate", "--index", str(folder), "--models", "knn", "--baselines", "none", "--replicates", "5"]
    beside = CliRunner().invoke(app, [*options, "--split", f"paper:{tmp_path}"])
    assert beside.exit_code == 0, beside.output
    table = beside.stdout[beside.stdout.index("beside the paper's Table 2") :]
    ours = evaluate_index(open_index(folder), Question(models=("knn",), baselines=(), replicates=5))
    mass = [cell for line in table.splitlines() if line.startswith(" Mass") for cell in line.split()[1:]]
    knn = f"{ours.metrics['knn'].auroc.point[MASS]:.3f}"
    assert mass[:6] == ["0.868", "0.852", "0.865", knn, "0.637", "0.852"]
    assert "paper" not in CliRunner().invoke(app, options).stdout


def test_the_command_writes_the_report(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "report.html"
    monkeypatch.setattr("sys.argv", ["cxrsearch", "evaluate", "--report", "a page.html"])
    options = ["--index", str(folder), "--models", "knn", "--baselines", "none", "--replicates", "5", "--strata"]
    answer = CliRunner().invoke(app, ["evaluate", *options, "--fractions", "0.5,1", "--report", str(page)])
    assert answer.exit_code == 0, answer.output
    text = page.read_text()
    for said in ("120 images of 60 patients", "column, part test", "5 replicates of the patients", "scikit-learn"):
        assert said in text
    assert text.count('alt="ROC curve of') == 2
    assert "<dt>Command</dt><dd>cxrsearch evaluate --report " in text
