"""`python -m maquette` and the command `maquette`: the same, with a Ctrl-C during the first imports taken care of."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from maquette.apps.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        code = 130
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not turn leaving into a traceback
    sys.exit(code)


if __name__ == "__main__":
    main()
