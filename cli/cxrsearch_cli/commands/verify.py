"""`cxrsearch verify`: is every byte of an index what was written?"""

from cxrsearch.errors import IntegrityError
from cxrsearch.words import counted
from cxrsearch_cli import console
from cxrsearch_cli.inputs import resolve_index
from cxrsearch_cli.options import IndexDirectory, with_options


@with_options
def command(options: IndexDirectory) -> None:
    """Check every byte of an index against its manifest. A file that is not in the manifest is an error, too."""
    from cxrsearch.store.integrity import check_files, list_unlisted_files
    from cxrsearch.store.manifest import read_manifest

    folder = resolve_index(options.directory, options.index)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    if unlisted := list_unlisted_files(folder, manifest):
        files = counted(len(unlisted), "file that is", "files that are")
        raise IntegrityError(
            f"{folder} contains {files} not in its manifest: {', '.join(unlisted[:3])}",
            "remove them (the next build-index removes those of an interrupted one)",
        )
    size = sum(entry.size for entry in manifest.files.values())
    if options.as_json:
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
