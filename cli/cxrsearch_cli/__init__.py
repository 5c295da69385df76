"""The command line of cxrsearch."""


def main() -> None:
    """The console script. It imports the commands inside `try`, so that Ctrl-C is quiet while they load, too."""
    try:
        from cxrsearch_cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
