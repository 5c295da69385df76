"""Asking an index: an image in; its nearest images of other patients, votes, predictions and typicality out.

image -> radiograph -> network pixels (images) -> embedding (encoder) -> neighbours (store) -> votes (analysis)
"""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrsearch.analysis.maps.windows import Box
from cxrsearch.analysis.neighbours.mlknn import MLkNN
from cxrsearch.analysis.neighbours.typicality import ALARM, Reference, Typicality, reference_rows, typicality
from cxrsearch.analysis.neighbours.vote import Votes, vote
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.images.radiograph import ImageLike, load_radiograph, name_image
from cxrsearch.progress import Progress, silent
from cxrsearch.query._regions import CANDIDATES, box_shares, match_regions
from cxrsearch.query.answer import QueryResult, Retrieved
from cxrsearch.query.embedded import Embedded, embed_images
from cxrsearch.query.identity import Identity, Source, identify, identity_of_row
from cxrsearch.query.maps import FindingMaps, Method, finding_maps, similarity_maps
from cxrsearch.query.options import QueryOptions, Vote
from cxrsearch.store.filtered_search import Filters, open_vectors, search_rows
from cxrsearch.store.reader import open_stored, require_same_encoder
from cxrsearch_indexes import Neighbours, Restriction, VectorIndex

MLKNN_ROWS = 20_000
"""ML-kNN is fitted on at most so many rows of the bank (seeded), which a warning then says."""

Embeddable = Pixels | Embedded | QueryResult
"""What maps are made of: stored pixels, or what is embedded already."""

_NO_FILTERS = Filters()
_PLAIN = QueryOptions()


class Index:
    """An index, open for questions. `open_index` makes one.

    Args:
        folder: the index directory.
        device: where the encoder (and FAISS) runs: `auto`, `cpu`, `cuda` or `cuda:N`.
        weights: an encoder to use instead of the index's own copy; it must be the same one.

    Raises:
        StoreError: no index there, or one that is damaged, of a newer format, or of another encoder.
    """

    def __init__(self, folder: Path | str, *, device: str = "auto", weights: str | None = None) -> None:
        self.stored = open_stored(Path(folder))
        self.manifest, self.catalogue = self.stored.manifest, self.stored.catalogue
        self._device, self._weights = device, weights
        if weights is not None:
            self.embedder  # noqa: B018  # so that a wrong encoder is refused before any work

    def __repr__(self) -> str:
        return f"<Index of {len(self):,} images in {self.stored.folder}, encoder {self.manifest.encoder_label}>"

    def __len__(self) -> int:
        return self.manifest.n

    @cached_property
    def embedder(self) -> Embedder:
        """The index's encoder on its device. Raises UsageError for imported embeddings."""
        own = self.manifest.require_encoder()
        encoder = self._given_encoder(self._weights) if self._weights else self.stored.load_encoder()
        require_same_encoder(self.manifest, encoder.spec.fingerprint(own["precision"]), encoder.spec.label)
        return Embedder(encoder, self._device, own["precision"])

    def _given_encoder(self, weights: str) -> Encoder:
        """The encoder of `--weights`, with the index's size, and its architecture where the weights leave it open."""
        own = self.manifest.require_encoder()
        open_choice = weights == "imagenet" or weights.startswith("random:")
        return load_encoder(weights, arch=own["architecture"] if open_choice else None, size=own["preprocess"]["size"])

    @cached_property
    def _vectors(self) -> VectorIndex:
        return open_vectors(self.stored, self._device)

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        return self.catalogue.patient_groups()

    def query(
        self,
        image: ImageLike,
        *,
        k: int = 20,
        vote: Vote = "uniform",
        patient: str | None = None,
        same_patient: bool = False,
        filters: Filters = _NO_FILTERS,
        alarm: float = ALARM,
        box: Box | None = None,
        candidates: int = CANDIDATES,
        progress: Progress = silent,
    ) -> QueryResult:
        """The nearest indexed images of other patients, and what follows from them.

        Args:
            image: a PNG, JPEG or DICOM file; or its pixels, uint8 or uint16 (height, width), or a grey Pillow image.
            k: neighbours wanted; fewer come where fewer may answer.
            vote: `uniform`, `distance`, `softmax` or `mlknn`.
            patient: the query's patient, where it is known better than from the file.
            same_patient: let images of the query's own patient, and the image itself, answer too.
            filters: which images may answer.
            alarm: the share of ordinary images that may be called unlike the index, in (0, 1); see `Typicality`.
            box: ask by this region, left, top, width and height in pixels of the image's file: neighbours are those
                with the most similar region of that size, and distances 1 - cosine of regions, see `match_regions`.
            candidates: with a box, how many images are judged by their regions: as many as k at least.
            progress: called while ML-kNN is fitted, and while regions are matched.

        Raises:
            UsageError: what cannot be meant, a box that is not in the image, or an index that cannot answer it.
            ImageError: the image cannot be used.
        """
        options = QueryOptions(k, vote, patient, same_patient, filters, alarm, box, candidates)
        self.manifest.require_encoder()
        if box is not None:
            self.require_pixels(0)
        filters.rows(self.catalogue)  # so that an unknown filter is refused before the image is decoded
        radiograph = load_radiograph(image)
        embedded = self.embed([self.preprocess.stored_pixels(radiograph.pixels)])[0]
        path = Path(image) if isinstance(image, str | os.PathLike) else PurePath()
        return self.answer(name_image(image), path, radiograph, embedded, options, progress)

    @property
    def preprocess(self) -> Preprocess:
        """How a radiograph becomes the encoder's input. Raises UsageError in an index of imported embeddings."""
        return self.embedder.spec.preprocess

    def embed(self, stored: Sequence[Pixels]) -> list[Embedded]:
        """Embed images that are decoded already, as one batch.

        Args:
            stored: the stored pixels of each, uint8 (side, side).

        Raises:
            UsageError: pixels of another shape or type, or an index of imported embeddings.
        """
        return embed_images(self.embedder, stored)

    def answer(
        self,
        query: str,
        path: PurePath,
        source: Source,
        embedded: Embedded,
        options: QueryOptions,
        progress: Progress = silent,
    ) -> QueryResult:
        """The answer for an image that is decoded and embedded already.

        Args:
            query: what the answer calls it.
            path: its file, or only a name, which tells a patient where nothing better does.
            source: the digests of what was decoded, and its DICOM tags.
            embedded: by `embed`.
            options: what is asked.
            progress: called while ML-kNN is fitted.

        Raises:
            UsageError: an unknown filter, or an empty patient.
        """
        identity = identify(self.stored, path, source, options.patient)
        return self._answer(query, identity, embedded, source.size, options, progress)

    def answer_row(self, row: int, options: QueryOptions = _PLAIN) -> QueryResult:
        """The answer for an indexed image, without its file; also in an index of imported embeddings.

        Its pixels are embedded anew where there are any, which yields the head's predictions; else its stored
        embedding is taken, and `pixels` of the answer is empty.

        Raises:
            UsageError: an unknown filter, or an empty patient.
            IndexError: no such row.
        """
        if not 0 <= row < self.manifest.n:
            raise IndexError(f"row {row} of an index of {self.manifest.n} images")
        identity = identity_of_row(self.stored, row, options.patient)
        return self._answer(self.catalogue.ids[row], identity, self._embedded_row(row), None, options, silent)

    def _embedded_row(self, row: int) -> Embedded:
        pixels = self.stored_pixels(row)
        if pixels is not None and self.manifest.encoder is not None:
            return self.embed([pixels])[0]
        nothing = np.zeros((0, 0), dtype=np.uint8)
        embedding = self.stored.vectors.take(np.array([row], dtype=np.int64))
        return Embedded(nothing if pixels is None else pixels, embedding)

    def _answer(
        self,
        query: str,
        identity: Identity,
        embedded: Embedded,
        size: tuple[int, int] | None,
        options: QueryOptions,
        progress: Progress,
    ) -> QueryResult:
        allowed = options.filters.rows(self.catalogue)
        others = ~identity.own
        answering = np.ones(len(self), dtype=np.bool_) if options.same_patient else others
        bank = answering if allowed is None else answering & allowed
        neighbours, regions = self._nearest(embedded, size, bank, options, progress)
        votes, vote_warnings = self._votes(neighbours, bank, options.k, options.vote, progress)
        typical = self._typicality(embedded.embedding, others, options.alarm)
        return QueryResult(
            query=query,
            embedded=embedded,
            index=self._described(),
            neighbours=self._retrieved(neighbours, regions),
            query_patient=identity.patient,
            query_image=None if identity.row is None else self.catalogue.ids[identity.row],
            query_findings=None if identity.row is None else self.catalogue.findings(identity.row),
            left_out=None if options.same_patient else int(identity.own.sum()),
            findings=self.manifest.findings,
            votes=votes,
            typicality=typical,
            warnings=(
                *(() if options.same_patient else identity.warnings),
                *vote_warnings,
                *self._warnings(len(neighbours.rows), options.k, typical),
            ),
            box=options.box,
            size=size,
        )

    def stored_pixels(self, row: int) -> Pixels | None:
        """The stored pixels of an indexed image, uint8 (side, side), or None in an index without pixels."""
        return self.stored.stored_pixels(row)

    def finding_maps(self, image: Embeddable, *, method: Method = "cam") -> FindingMaps | None:
        """Where the trained head sees its findings; see `query.maps.finding_maps`.

        Args:
            image: an answer or what `embed` returned, which are not embedded again; or stored pixels, uint8
                (side, side), as `QueryResult.pixels` or `stored_pixels` of a row.
            method: `cam` or `grad-cam`.

        Returns:
            None where the encoder has no trained head.

        Raises:
            UsageError: an unknown method, pixels of another shape, or an index of imported embeddings.
        """
        embedder = self.embedder
        return finding_maps(embedder, self._embedded(image), method)

    def similarity_maps(self, image: Embeddable, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Which regions make an image and an indexed one alike; see `query.maps.similarity_maps`.

        Args:
            image: of the query, as of `finding_maps`.
            row: of the indexed image, whose feature map is computed from the stored pixels.

        Returns:
            float64 (h, w) of the query, and (h, w) of the indexed image; the mean of either is the inner product of
            their embeddings.

        Raises:
            UsageError: no such row, pixels of another shape, or an index without pixels or of imported embeddings.
        """
        return similarity_maps(self._embedded(image), self.embed([self.require_pixels(row)])[0])

    def _embedded(self, image: Embeddable) -> Embedded:
        """The image with its feature map; only pixels go through the network."""
        embedded = image.embedded if isinstance(image, QueryResult) else image
        return embedded if isinstance(embedded, Embedded) else self.embed([embedded])[0]

    def require_pixels(self, row: int) -> Pixels:
        """The stored pixels of an indexed image, uint8 (side, side).

        Raises:
            UsageError: no such row, or an index without pixels or of imported embeddings.
        """
        self.manifest.require_encoder()
        if not 0 <= row < len(self):
            raise UsageError(f"row {row} of an index of {len(self)} images", f"name a row from 0 to {len(self) - 1}")
        pixels = self.stored_pixels(row)
        if pixels is None:
            raise UsageError(
                "this index keeps no pixels, so no feature map can be computed", "build it without --no-pixels"
            )
        return pixels

    def _described(self) -> dict[str, str]:
        """What an answer says of the index."""
        described = {"path": str(self.stored.folder), "generation": self.manifest.generation}
        return described | {"encoder": self.manifest.encoder_label}

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        """The mean embedding, float64 (dim,)."""
        sums = [block.sum(axis=0, dtype=np.float64) for block in self.stored.blocks]
        centre: NDArray[np.float64] = np.sum(sums, axis=0) / len(self)
        return centre

    def _nearest(
        self,
        embedded: Embedded,
        size: tuple[int, int] | None,
        bank: NDArray[np.bool_],
        options: QueryOptions,
        progress: Progress,
    ) -> tuple[Neighbours, NDArray[np.float64] | None]:
        """The k nearest images; of a region the k of the candidates with the most similar ones, and these (m, 4)."""
        k, allowed = options.k, Restriction(allowed=bank)
        if options.box is None:
            return self._vectors.search(embedded.embedding, k, allowed), None
        if size is None:
            raise UsageError("a region of an image whose file is not at hand", "ask by the file")
        region = box_shares(options.box, size, self.preprocess)

        def nearest(vector: NDArray[np.float64]) -> NDArray[np.int64]:
            return self._vectors.search(vector[None].astype(np.float32), options.candidates, allowed).rows

        rows, distances, regions = match_regions(
            self.embedder, embedded, region, self._centre, nearest, self.require_pixels, progress
        )
        return Neighbours(rows[:k], distances[:k], np.array([0, len(rows[:k])])), regions[:k]

    def _retrieved(self, neighbours: Neighbours, region: NDArray[np.float64] | None = None) -> Retrieved:
        rows = neighbours.rows
        found = self.catalogue.frame.iloc[rows]
        known = self.catalogue.labels is not None
        return Retrieved(
            row=rows,
            image=found["id"].to_numpy(dtype=object),
            patient=found["patient"].to_numpy(dtype=object),
            distance=neighbours.distances,
            findings=tuple(self.catalogue.findings(row) if known else None for row in rows),
            view=tuple(None if pd.isna(view) else str(view) for view in found["view"]),
            region=region,
        )

    def _votes(
        self, neighbours: Neighbours, bank: NDArray[np.bool_], k: int, weighting: Vote, progress: Progress
    ) -> tuple[Votes | None, list[str]]:
        labels = self.catalogue.labels
        if labels is None:
            return None, ["no votes: the findings of the indexed images are not known (build the index with --labels)"]
        if weighting != "mlknn":
            return vote(neighbours, labels, weighting=weighting, bank=bank), []
        model, warnings = self._fitted_mlknn(labels, bank, k, progress)
        return model.predict(neighbours, labels, bank=bank), warnings

    def _fitted_mlknn(
        self, labels: NDArray[np.bool_], bank: NDArray[np.bool_], k: int, progress: Progress
    ) -> tuple[MLkNN, list[str]]:
        """ML-kNN of the bank, each row's neighbours being those of other patients in the bank."""
        members = np.flatnonzero(bank)
        rows = members[reference_rows(len(members), seed=0, limit=MLKNN_ROWS)]
        others = Restriction(bank, self._groups, self._groups[rows])
        found = search_rows(self.stored, self._vectors, rows, k, others, "fitting ML-kNN", progress)
        model = MLkNN.fit(found, labels[rows], labels, k=k, bank=bank)
        sampled = f"ML-kNN was fitted on {len(rows)} of the bank's {len(members)} images (seed 0)"
        return model, [sampled] if len(rows) < len(members) else []

    def _typicality(self, embedding: NDArray[np.float32], others: NDArray[np.bool_], alarm: float) -> Typicality:
        """How far the query lies from the other patients of the whole index, whoever may answer."""
        k, distances = self.stored.reference["k"], np.asarray(self.stored.reference["distances"], dtype=np.float64)
        near = self._vectors.search(embedding, k, Restriction(allowed=others))
        return typicality(Reference(k, distances) if distances.size else None, float(near.last(k)[0]), alarm)

    def _warnings(self, found: int, k: int, typical: Typicality) -> list[str]:
        warnings = [] if typical.warning is None else [typical.warning]
        if found < k:
            warnings.append(f"only {found} of the {k} neighbours asked for: no more images may answer")
        return [*warnings, *self.manifest.warnings]


def open_index(folder: Path | str, *, device: str = "auto", weights: str | None = None) -> Index:
    """Open an index for questions; see `Index`."""
    return Index(folder, device=device, weights=weights)
