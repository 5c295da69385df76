"""Query an index: an image goes in; its nearest images of other patients, votes, predictions and typicality come out.

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
from cxrsearch.analysis.neighbours.typicality import ALARM, Reference, Typicality, typicality
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.weights import load_encoder
from cxrsearch.errors import UsageError
from cxrsearch.images.preprocess import Pixels, Preprocess
from cxrsearch.images.radiograph import ImageLike, load_radiograph, name_image
from cxrsearch.progress import Progress, silent
from cxrsearch.query._regions import CANDIDATES, box_shares, match_regions
from cxrsearch.query._voting import cast_votes
from cxrsearch.query.answer import QueryResult, Retrieved
from cxrsearch.query.embedded import Embedded, embed_images
from cxrsearch.query.identity import Identity, Source, identify, identity_of_row
from cxrsearch.query.maps import FindingMaps, Method, finding_maps, similarity_maps
from cxrsearch.query.options import QueryOptions, Vote
from cxrsearch.store.filtered_search import Filters, open_vectors
from cxrsearch.store.reader import open_stored, require_same_encoder
from cxrsearch_indexes import Neighbours, Restriction, VectorIndex

Embeddable = Pixels | Embedded | QueryResult
"""An input of heat maps: stored pixels, or an image that is already embedded."""

_NO_FILTERS = Filters()
_PLAIN = QueryOptions()


class Index:
    """An open index. `open_index` opens one.

    Args:
        folder: the index directory.
        device: where the encoder and FAISS run: `auto`, `cpu`, `cuda` or `cuda:N`.
        weights: an encoder to use instead of the copy in the index; it must be the same encoder.

    Raises:
        StoreError: there is no index, or it is damaged, has a newer format, or belongs to another encoder.
    """

    def __init__(self, folder: Path | str, *, device: str = "auto", weights: str | None = None) -> None:
        self.stored = open_stored(Path(folder))
        self.manifest, self.catalogue = self.stored.manifest, self.stored.catalogue
        self._device, self._weights = device, weights
        if weights is not None:
            self.embedder  # noqa: B018  # load it now: a wrong encoder is refused before any work

    def __repr__(self) -> str:
        return f"<Index of {len(self):,} images in {self.stored.folder}, encoder {self.manifest.encoder_label}>"

    def __len__(self) -> int:
        return self.manifest.n

    @cached_property
    def embedder(self) -> Embedder:
        """The index's encoder on its device. Raises UsageError for imported embeddings."""
        spec = self.manifest.require_encoder()
        encoder = self._load_encoder(self._weights) if self._weights else self.stored.load_encoder()
        require_same_encoder(self.manifest, encoder.spec.fingerprint(spec["precision"]), encoder.spec.label)
        return Embedder(encoder, self._device, spec["precision"])

    def _load_encoder(self, weights: str) -> Encoder:
        """The encoder of `--weights`, at the index's size.

        `imagenet` and `random:N` name no architecture, so the index's is used.
        """
        spec = self.manifest.require_encoder()
        any_architecture = weights == "imagenet" or weights.startswith("random:")
        arch = spec["architecture"] if any_architecture else None
        return load_encoder(weights, arch=arch, size=spec["preprocess"]["size"])

    @cached_property
    def _vectors(self) -> VectorIndex:
        return open_vectors(self.stored, self._device)

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
        """Find the nearest indexed images of other patients, their votes, and how typical the image is.

        Args:
            image: a PNG, JPEG or DICOM file; or pixels, uint8 or uint16 (height, width); or a grey Pillow image.
            k: number of neighbours, at least 1. There are fewer if fewer images match.
            vote: `uniform`, `distance`, `softmax` or `mlknn`.
            patient: the query's patient, if the caller knows it better than the file does.
            same_patient: also allow images of the query's patient, and the image itself, as neighbours.
            filters: which images may be neighbours.
            alarm: the share of ordinary images that may be flagged as atypical, in (0, 1); see `Typicality`.
            box: query by this region: left, top, width and height in pixels of the image's file. Neighbours are then
                the images with the most similar region of that size. Distances are 1 - cosine of the regions; see
                `match_regions`.
            candidates: with a box, the number of images whose regions are compared, at least k.
            progress: called while ML-kNN is fitted and while regions are matched.

        Returns:
            Neighbours, votes, predictions and typicality.

        Raises:
            UsageError: invalid options, a box that is not inside the image, or an index that does not support them.
            ImageError: the image cannot be used.
        """
        options = QueryOptions(k, vote, patient, same_patient, filters, alarm, box, candidates)
        self.manifest.require_encoder()
        if box is not None:
            self.require_pixels(0)
        filters.rows(self.catalogue)  # refuses an unknown filter before the image is decoded
        radiograph = load_radiograph(image)
        embedded = self.embed([self.preprocess.stored_pixels(radiograph.pixels)])[0]
        path = Path(image) if isinstance(image, str | os.PathLike) else PurePath()
        return self.answer(name_image(image), path, radiograph, embedded, options, progress)

    @property
    def preprocess(self) -> Preprocess:
        """How a radiograph becomes the encoder's input. Raises UsageError in an index of imported embeddings."""
        return self.embedder.spec.preprocess

    def embed(self, stored: Sequence[Pixels]) -> list[Embedded]:
        """Embed decoded images, as one batch.

        Args:
            stored: the stored pixels of each image, uint8 (side, side).

        Returns:
            One embedded image each, in the same order.

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
        """Answer a query whose image is already decoded and embedded.

        Args:
            query: the image's name in the answer.
            path: its file, or only a file name. A name identifies the patient if nothing better does.
            source: digests of the decoded file, and its DICOM tags.
            embedded: the result of `embed`.
            options: the query's options.
            progress: called while ML-kNN is fitted.

        Returns:
            Neighbours, votes, predictions and typicality.

        Raises:
            UsageError: an unknown filter, or an empty patient.
        """
        identity = identify(self.stored, path, source, options.patient)
        return self._answer(query, identity, embedded, source.size, options, progress)

    def answer_row(self, row: int, options: QueryOptions = _PLAIN) -> QueryResult:
        """Query with an indexed image, without its file. An index of imported embeddings supports this too.

        If the index keeps its pixels, they are embedded again, which also gives the head's predictions. Otherwise the
        stored embedding is used, and `pixels` of the answer is empty.

        Args:
            row: the image's row, from 0.
            options: the query's options.

        Returns:
            Neighbours, votes, predictions and typicality.

        Raises:
            UsageError: an unknown filter, or an empty patient.
            IndexError: no such row.
        """
        if not 0 <= row < self.manifest.n:
            raise IndexError(f"row {row} of an index of {self.manifest.n} images")
        identity = identity_of_row(self.stored, row, options.patient)
        return self._answer(self.catalogue.ids[row], identity, self._embed_row(row), None, options, silent)

    def _embed_row(self, row: int) -> Embedded:
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
        others = ~identity.patient_rows
        voters = np.ones(len(self), dtype=np.bool_) if options.same_patient else others
        bank = voters if allowed is None else voters & allowed
        neighbours, regions = self._nearest(embedded, size, bank, options, progress)
        votes, vote_warnings = cast_votes(
            self.stored, self._vectors, neighbours, bank, k=options.k, weighting=options.vote, progress=progress
        )
        typical = self._typicality(embedded.embedding, others, options.alarm)
        return QueryResult(
            query=query,
            embedded=embedded,
            index=self._describe(),
            neighbours=self._retrieve(neighbours, regions),
            query_patient=identity.patient,
            query_image=None if identity.row is None else self.catalogue.ids[identity.row],
            query_findings=None if identity.row is None else self.catalogue.findings(identity.row),
            left_out=None if options.same_patient else int(identity.patient_rows.sum()),
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
        """The stored pixels of an indexed image.

        Args:
            row: the image's row, from 0.

        Returns:
            uint8 (side, side), or None if the index keeps no pixels.
        """
        return self.stored.stored_pixels(row)

    def finding_maps(self, image: Embeddable, *, method: Method = "cam") -> FindingMaps | None:
        """The heat map of each finding of the trained head; see `query.maps.finding_maps`.

        Args:
            image: an answer or a result of `embed`, which is not embedded again; or stored pixels, uint8
                (side, side), as `QueryResult.pixels` or `stored_pixels` of a row.
            method: `cam` or `grad-cam`.

        Returns:
            The heat maps, or None if the encoder has no trained head.

        Raises:
            UsageError: an unknown method, pixels of another shape, or an index of imported embeddings.
        """
        embedder = self.embedder
        return finding_maps(embedder, self._embed_image(image), method)

    def similarity_maps(self, image: Embeddable, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Heat maps of what makes an image and an indexed image alike; see `query.maps.similarity_maps`.

        Args:
            image: the query, as in `finding_maps`.
            row: row of the indexed image. Its feature map is computed from its stored pixels.

        Returns:
            float64 (h, w) of the query, and (h, w) of the indexed image. The mean of either map is the inner product
            of the two embeddings.

        Raises:
            UsageError: no such row, pixels of another shape, or an index without pixels or of imported embeddings.
        """
        return similarity_maps(self._embed_image(image), self.embed([self.require_pixels(row)])[0])

    def _embed_image(self, image: Embeddable) -> Embedded:
        """The image with its feature map. Only pixels go through the network; other inputs hold it already."""
        embedded = image.embedded if isinstance(image, QueryResult) else image
        return embedded if isinstance(embedded, Embedded) else self.embed([embedded])[0]

    def require_pixels(self, row: int) -> Pixels:
        """The stored pixels of an indexed image; an error if there are none.

        Args:
            row: the image's row, from 0.

        Returns:
            uint8 (side, side).

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

    def _describe(self) -> dict[str, str]:
        """The entry `index` of an answer: path, generation and encoder."""
        description = {"path": str(self.stored.folder), "generation": self.manifest.generation}
        return description | {"encoder": self.manifest.encoder_label}

    @cached_property
    def _centre(self) -> NDArray[np.float64]:
        """The mean embedding, float64 (dim,). It is summed block by block, so that no copy of all rows is needed."""
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
        """The k nearest images. With a box: the k candidates with the most similar regions, and these, (m, 4)."""
        k, allowed = options.k, Restriction(allowed=bank)
        if options.box is None:
            return self._vectors.search(embedded.embedding, k, allowed), None
        if size is None:
            raise UsageError("the image's file is not available for a region query", "query with the file")
        region = box_shares(options.box, size, self.preprocess)

        def nearest(vector: NDArray[np.float64]) -> NDArray[np.int64]:
            return self._vectors.search(vector[None].astype(np.float32), options.candidates, allowed).rows

        rows, distances, regions = match_regions(
            self.embedder, embedded, region, self._centre, nearest, self.require_pixels, progress
        )
        return Neighbours(rows[:k], distances[:k], np.array([0, len(rows[:k])])), regions[:k]

    def _retrieve(self, neighbours: Neighbours, region: NDArray[np.float64] | None = None) -> Retrieved:
        rows = neighbours.rows
        frame = self.catalogue.frame.iloc[rows]
        known = self.catalogue.labels is not None
        return Retrieved(
            row=rows,
            image=frame["id"].to_numpy(dtype=object),
            patient=frame["patient"].to_numpy(dtype=object),
            distance=neighbours.distances,
            findings=tuple(self.catalogue.findings(row) if known else None for row in rows),
            view=tuple(None if pd.isna(view) else str(view) for view in frame["view"]),
            region=region,
        )

    def _typicality(self, embedding: NDArray[np.float32], others: NDArray[np.bool_], alarm: float) -> Typicality:
        """How far the query lies from the other patients of the whole index. Filters do not matter here."""
        k, distances = self.stored.reference["k"], np.asarray(self.stored.reference["distances"], dtype=np.float64)
        near = self._vectors.search(embedding, k, Restriction(allowed=others))
        return typicality(Reference(k, distances) if distances.size else None, float(near.last(k)[0]), alarm)

    def _warnings(self, count: int, k: int, typical: Typicality) -> list[str]:
        warnings = [] if typical.warning is None else [typical.warning]
        if count < k:
            warnings.append(f"only {count} of {k} neighbours: no more images match")
        return [*warnings, *self.manifest.warnings]


def open_index(folder: Path | str, *, device: str = "auto", weights: str | None = None) -> Index:
    """Open an index.

    Args:
        folder: the index directory.
        device: where the encoder and FAISS run: `auto`, `cpu`, `cuda` or `cuda:N`.
        weights: an encoder to use instead of the copy in the index; it must be the same encoder.

    Returns:
        The open index.

    Raises:
        StoreError: there is no index, or it is damaged, has a newer format, or belongs to another encoder.
    """
    return Index(folder, device=device, weights=weights)
