"""The command line: `instruct-embeddings`."""


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    from instruct_embeddings.cli.app import app

    app()
