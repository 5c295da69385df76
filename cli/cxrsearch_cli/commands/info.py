"""`cxrsearch info`: what an index is."""

from typing import TYPE_CHECKING

from cxrsearch.files import Json
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, IndexArgument, IndexOption, index_folder

if TYPE_CHECKING:
    from cxrsearch.store.manifest import Manifest


def command(directory: IndexArgument = None, index: IndexOption = None, as_json: AsJson = False) -> None:
    """Say what an index holds. Its manifest and catalogue are checked; `verify` checks every byte."""
    from cxrsearch.store.integrity import check_files
    from cxrsearch.store.layout import CATALOGUE
    from cxrsearch.store.manifest import describe_split, read_manifest

    folder = index_folder(directory, index)
    manifest = read_manifest(folder)
    check_files(folder, manifest, [CATALOGUE])
    size = sum(entry.size for entry in manifest.files.values())
    if as_json:
        console.json_line({"path": str(folder.resolve()), "bytes": size} | manifest.to_json())
        return
    summary = manifest.summary
    patients = counted(summary["patients"], "patient")
    rows = {
        "generation": manifest.generation,
        "images": f"{manifest.n:,} of {patients} (patients from: {manifest.patient_source})",
        "views": ", ".join(f"{view} {count}" for view, count in summary["views"].items()) or "unknown",
        "not indexed": f"{counted(summary['refused'], 'image')} refused, "
        f"{counted(summary['rows_without_image'], 'table row')} without image",
        **_encoder(manifest),
        "search": f"{manifest.kind}, {manifest.metric}",
        "split": describe_split(manifest.split),
        "images root": manifest.images_root or "none",
        "size": f"{size / 1e6:.1f} MB in {counted(len(manifest.files), 'file')}",
    }
    console.table(str(folder), {"": False, " ": False}, rows.items())
    _show_findings(manifest)


def _encoder(manifest: "Manifest") -> dict[str, str]:
    encoder = manifest.encoder
    if encoder is None:
        return {"encoder": f"none: {manifest.encoder_label}, {manifest.dim} dimensions (`query` needs an encoder)"}
    return {
        "encoder": f"{encoder['label']}, {encoder['architecture']}, {manifest.dim} dimensions, {encoder['precision']}",
        "fingerprint": encoder["fingerprint"],
        "trained on": _provenance(encoder["provenance"]),
    }


def _provenance(provenance: Json) -> str:
    if provenance["train_ids_sha256"] is None:
        return "unknown"
    images = counted(provenance["n_train"], "image")
    said = f"{images}, split {provenance['split']}, ids {provenance['train_ids_sha256'][:16]}"
    before = provenance.get("before")
    return said if before is None else f"{said}; before that, {_provenance(before)}"


def _show_findings(manifest: "Manifest") -> None:
    counts = manifest.summary["findings"]
    if counts is None:
        console.text("The findings of the images are unknown: the index was built without a table.")
        return
    rows = ((name, str(counts[name]), f"{counts[name] / manifest.n:.1%}") for name in (*manifest.findings, NO_FINDING))
    console.table("Findings", {"finding": False, "images": True, "share": True}, rows)
