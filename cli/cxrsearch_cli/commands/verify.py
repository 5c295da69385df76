"""`cxrsearch verify`: is every byte of an index what was written?"""

from cxrsearch.errors import IntegrityError
from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.options import AsJson, IndexArgument, IndexOption, index_folder


def command(directory: IndexArgument = None, index: IndexOption = None, as_json: AsJson = False) -> None:
    """Check every byte of every file of an index against its manifest; files that do not belong are an error too."""
    from cxrsearch.store.integrity import check_files, unlisted_files
    from cxrsearch.store.manifest import read_manifest

    folder = index_folder(directory, index)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    if strange := unlisted_files(folder, manifest):
        files = counted(len(strange), "file that is", "files that are")
        raise IntegrityError(
            f"{folder} holds {files} not in its manifest: {', '.join(strange[:3])}",
            "remove them (the next build-index removes what an interrupted one left)",
        )
    size = sum(entry.size for entry in manifest.files.values())
    if as_json:
        console.json_line(
            {
                "path": str(folder.resolve()),
                "generation": manifest.generation,
                "files": len(manifest.files),
                "bytes": size,
            }
        )
    else:
        console.text(f"{folder}: all {len(manifest.files) + 1} files are as they were written ({size / 1e6:.1f} MB)")
