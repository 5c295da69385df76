"""The optional parts of an evaluation: strata, retrieval, and votes with fractions of the bank."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from cxrsearch.analysis.evaluation.evaluate_scores import Scored
from cxrsearch.analysis.evaluation.fractions import FractionCurve, fraction_curve
from cxrsearch.analysis.evaluation.strata import strata
from cxrsearch.analysis.evaluation.stratified import Stratum, stratify
from cxrsearch.analysis.models.knn_model import Searches
from cxrsearch.analysis.retrieval.search_quality import SearchQuality, all_but_itself, others_only, search_quality
from cxrsearch.errors import CatalogueError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.progress import Progress
from cxrsearch.protocol.rows import Rows
from cxrsearch.protocol.samples import sample
from cxrsearch.query.index import Index
from cxrsearch.store.filtered_search import search_rows
from cxrsearch_indexes import build


def in_strata(scored: Scored, catalogues: Sequence[Catalogue], replicates: int, seed: int) -> tuple[Stratum, ...]:
    """The metrics of every model by view, sex and age band.

    Args:
        scored: the models' scores.
        catalogues: the catalogues of the scored images, in their order.
        replicates: bootstrap replicates.
        seed: seed of the bootstrap.

    Raises:
        CatalogueError: neither view, sex nor age of any image is known.
    """
    frame = pd.concat([catalogue.frame for catalogue in catalogues])
    masks = strata(view=frame["view"].to_numpy(), sex=frame["sex"].to_numpy(), age=frame["age"].to_numpy())
    if not masks:
        raise CatalogueError(
            "no strata: neither view, sex nor age of these images is known",
            "give them in the table, or leave --strata out",
        )
    return stratify(scored, masks, replicates=replicates, seed=seed)


def retrieve(index: Index, rows: Rows, k: int, replicates: int, seed: int, progress: Progress) -> SearchQuality:
    """Evaluate the neighbours of the scored images in the whole index, by exact search in the index's metric.

    Args:
        index: its embeddings and labels are used.
        rows: rows of the index; the scored ones are queries.
        k: number of neighbours.
        replicates: bootstrap replicates.
        seed: seed of the bootstrap.
        progress: called while queries are answered.
    """
    labels, patients = index.catalogue.labels, index.catalogue.patient_groups()
    assert labels is not None  # `evaluate` has already refused an index without labels
    vectors = build("exact", index.stored.blocks, index.manifest.metric)
    find = partial(search_rows, index.stored, vectors, rows.scored, k, progress=progress)
    others = find(others_only(rows.scored, patients), "retrieving")
    everyone = find(all_but_itself(rows.scored, len(index)), "retrieving, same patient allowed")
    return search_quality(others, everyone, rows.scored, labels, patients, k, replicates=replicates, seed=seed)


def vote_with_fractions(
    index: Index, rows: Rows, fractions: Sequence[float], seed: int, progress: Progress
) -> FractionCurve:
    """The AUROC of the paper's vote on the scored images, by fractions of the images that models are fitted on.

    Args:
        index: its embeddings and labels are used.
        rows: rows of the index.
        fractions: fractions in (0, 1].
        seed: seed of the draws.
        progress: called for every draw.

    Raises:
        UsageError: no image is left to vote.
    """
    if not len(rows.fit):
        raise UsageError("--fractions needs training images; the split has none", "use another --split")
    bank, queries = sample(index.stored, rows.fit), sample(index.stored, rows.scored)
    return fraction_curve(bank, queries, Searches(), fractions=fractions, seed=seed, progress=progress)
