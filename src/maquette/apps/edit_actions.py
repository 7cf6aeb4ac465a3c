"""What the verbs of `maquette edit` have in common: to open a session, do an edit, watch it and say what came of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maquette.edit import Edit, Report, Scene, Session

Action = Callable[[Path, bool], None]
"""What to do with the session in a folder; the flag asks for JSON."""


def edited(edit: "Edit | Callable[[Scene], Edit]", cloud: object = None) -> Action:
    """The action that does an edit, or the one that a scene calls for, and prints its report.

    `cloud` is kept in the session first.
    """

    def act(folder: Path, as_json: bool) -> None:
        with opened(folder, as_json) as session:
            if cloud is not None:
                session.keep(cloud)
            done_and_told(session, edit(session.scene) if callable(edit) else edit, as_json)

    return act


def done_and_told(session: "Session", edit: "Edit", as_json: bool) -> None:
    """Do an edit, and print its report."""
    report = _watched(session, edit, as_json)
    text = (
        f"{report.selected} selected: {report.changed} changed, {report.added} added, "
        f"{report.removed} removed; outside {report.outside_changed} rows changed, "
        f"{report.pixels_outside} pixels; {report.rows} rows, {report.seconds:.2f} s"
    )
    say(as_json, text, hash=session.hash, seconds=report.seconds, **report.lasting())


def _watched(session: "Session", edit: "Edit", as_json: bool) -> "Report":
    """Do an edit, with a bar if it takes long."""
    from maquette.apps.follow import follow
    from maquette.core import Event, Result
    from maquette.edit import is_worded

    def events() -> Iterator[Event]:
        report = yield from session.doing(edit)
        yield Result(report, report.lasting())

    if is_worded(edit):
        return follow(events(), as_json=as_json).asset
    *notices, result = events()
    for notice in notices:
        say(as_json, notice.text, notice=notice.text)
    return result.asset


def opened(folder: Path, as_json: bool) -> "Session":
    """The session in a folder; how it was found is said."""
    from maquette.edit import Session

    session = Session.open(folder)
    for notice in session.notices:
        say(as_json, notice, notice=notice)
    return session


def say(as_json: bool, text: str, **values: object) -> None:
    """A sentence for a person, or the values as a line of JSON."""
    print(json.dumps(values) if as_json else text, flush=True)
