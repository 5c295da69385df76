"""The command line of cxrsearch."""


def main() -> None:
    """The console script; it imports the commands itself, so that Ctrl-C ends it quietly from its first moment."""
    try:
        from cxrsearch_cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
