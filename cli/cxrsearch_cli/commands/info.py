"""`cxrsearch info`: what an index is."""

from typing import TYPE_CHECKING

from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.inputs import resolve_index
from cxrsearch_cli.options import IndexDirectory, with_options

if TYPE_CHECKING:
    from cxrsearch.files import Json
    from cxrsearch.store.manifest import Manifest


@with_options
def command(options: IndexDirectory) -> None:
    """Show what an index contains. Checks its manifest and catalogue; verify checks every byte."""
    from cxrsearch.store.integrity import check_files
    from cxrsearch.store.layout import CATALOGUE
    from cxrsearch.store.manifest import describe_split, read_manifest

    folder = resolve_index(options.directory, options.index)
    manifest = read_manifest(folder)
    check_files(folder, manifest, [CATALOGUE])
    size = sum(entry.size for entry in manifest.files.values())
    if options.as_json:
        console.json_line({"path": str(folder.resolve()), "bytes": size} | manifest.to_json())
        return
    summary = manifest.summary
    patients = counted(summary["patients"], "patient")
    rows = {
        "generation": manifest.generation,
        "images": f"{manifest.n:,} of {patients} (patients from: {manifest.patient_source})",
        "views": ", ".join(f"{view} {count}" for view, count in summary["views"].items()) or "unknown",
        "not indexed": f"{counted(summary['refused'], 'image')} refused, "
        f"{counted(summary['rows_without_image'], 'table row')} without an image",
        **_describe_encoder(manifest),
        "search": f"{manifest.kind}, {manifest.metric}",
        "split": describe_split(manifest.split),
        "image folder": manifest.images_root or "none",
        "size": f"{size / 1e6:.1f} MB in {counted(len(manifest.files), 'file')}",
    }
    console.table(str(folder), {"": False, " ": False}, rows.items())
    _show_findings(manifest)


def _describe_encoder(manifest: "Manifest") -> dict[str, str]:
    encoder = manifest.encoder
    if encoder is None:
        return {"encoder": f"none: {manifest.encoder_label}, {manifest.dim} dimensions (`query` needs an encoder)"}
    return {
        "encoder": f"{encoder['label']}, {encoder['architecture']}, {manifest.dim} dimensions, {encoder['precision']}",
        "fingerprint": encoder["fingerprint"],
        "trained on": _describe_provenance(encoder["provenance"]),
    }


def _describe_provenance(provenance: "Json") -> str:
    if provenance["train_ids_sha256"] is None:
        return "unknown"
    images = counted(provenance["n_train"], "image")
    last = f"{images}, split {provenance['split']}, ids {provenance['train_ids_sha256'][:16]}"
    before = provenance.get("before")
    return last if before is None else f"{last}; before that, {_describe_provenance(before)}"


def _show_findings(manifest: "Manifest") -> None:
    from cxrsearch.images.findings import NO_FINDING

    counts = manifest.summary["findings"]
    if counts is None:
        console.text("The findings of the images are unknown: the index was built without a table.")
        return
    rows = ((name, str(counts[name]), f"{counts[name] / manifest.n:.1%}") for name in (*manifest.findings, NO_FINDING))
    console.table("Findings", {"finding": False, "images": True, "share": True}, rows)
