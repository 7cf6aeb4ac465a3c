"""The commands `maquette edit SESSION …` and `maquette replay`: a session from the terminal.

The words after the session choose a verb, the verb says what to do, and its report is printed.
"""

import re
from pathlib import Path

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, PositionalMetavarFromFieldName

from maquette.apps.edit_verbs import VERBS

_PLAIN = (DisallowNone, FlagCreatePairsOff, PositionalMetavarFromFieldName)


def edit_session(args: list[str]) -> None:
    """Run the words after `maquette edit`: the session's folder, what to do, and its options. `--json` anywhere.

    Raises BadInput for what cannot be done; the session is then as it was.
    """
    as_json, words = "--json" in args, [word for word in args if word != "--json"]
    if not words or words[0].startswith("-"):
        folder, words = Path("SESSION"), ["--help"]
    else:
        folder, words = Path(words[0]), words[1:] or ["--help"]
    action = tyro.extras.subcommand_cli_from_dict(
        VERBS,
        prog=f"maquette edit {folder}",
        description="Change an asset step by step. Nothing is lost: undo goes back to the start, exactly.",
        args=_with_values(words),
        config=_PLAIN,
    )
    action(folder, as_json)


def replay_session(source: Path, out: Path) -> None:
    """Do everything in the log of a session again in the new folder `out`, and say whether it came out the same."""
    from maquette.edit import read_log, replay

    notices = replay(source, out)
    entries = read_log(out)
    print("\n".join(notices) or f"{out}: {len(entries)} lines, the same state {entries[-1].after[:8]}")


def _with_values(words: list[str]) -> list[str]:
    """`--by -1,0,0` as `--by=-1,0,0`, since a word that begins with a minus looks like an option."""
    joined: list[str] = []
    for word in words:
        if re.match(r"-\.?\d", word) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
