"""Who waits for what another run makes or uses says so."""

from __future__ import annotations

import threading
from pathlib import Path

from lamella.api.options import SessionOptions, open_store
from lamella.api.session import open_session
from lamella.build.options import BuildOptions, BuildReport
from lamella.build.selection import Selection
from lamella.graph.events import Event, Message
from tests.unit.api.projects import SHOP


class Told:
    """Keeps the messages; ``waits`` is set by the first one that says what is waited for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.waits = threading.Event()

    def emit(self, event: Event) -> None:
        if isinstance(event, Message):
            self.texts.append(event.text)
            if "waiting" in event.text:
                self.waits.set()


def test_who_waits_for_another_run_says_what_for_and_goes_on_afterwards(tmp_path: Path) -> None:
    (tmp_path / "lamella.toml").write_text(SHOP)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "work").write_text("one")
    told, reports = Told(), list[BuildReport]()
    with open_session(None, tmp_path, SessionOptions(store=tmp_path / "store")) as session:
        (vertex,) = session.plan(Selection()).vertices
        with session.store.key_lock(vertex.key):  # as another run has it
            build = threading.Thread(
                target=lambda: reports.append(session.build(Selection(), BuildOptions(), told)), daemon=True
            )
            build.start()
            assert told.waits.wait(60)
            assert not reports
        build.join(60)
    assert [report.vertices[0].outcome for report in reports] == ["built"]
    assert told.texts.count(f"{vertex.name}: another run makes it; waiting for its result") == 1


def test_who_waits_for_a_state_of_another_run_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    waits = threading.Event()

    def warn(text: str) -> None:
        said.append(text)
        waits.set()

    with open_store(SessionOptions(store=tmp_path / "store"), warn=warn) as store:

        def wait() -> None:
            for _ in range(2):
                with store.states.hold("target", label="shop"):
                    pass

        with store.states.hold("target", label="shop"):
            other = threading.Thread(target=wait, daemon=True)
            other.start()
            assert waits.wait(60)
        other.join(60)
        assert not other.is_alive()
    assert said == ["waiting for state 'shop', which another run has"]
