"""A review that goes on: the clips, what was decided about each so far, and the films that are looked at.

All pages of all reviewers share one session. Decisions that another process wrote to the same file, and clips that were
published or run anew meanwhile, are taken in as they come.
"""

import getpass
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from ..corpus.schema import QUALITY_NUMBERS
from ..gallery.tables import NUMBERS, format_number
from ..store.decision_log import DecisionLog
from ..store.decisions import Decision, check_reviewer, overlays_of, weigh_decisions
from . import film, painting
from .clips import ReviewClip, open_place

FILMS = 32
"""Films that are kept; one takes up to 2 MB."""
MAX_WAITING = 3
"""Films that wait to be made; an older one, whose page has gone on, gives way."""
WORKERS = 2
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Conflict(ValueError):
    """A decision that does not fit what is there now: the clip was made anew, or is gone."""


class PlaceMissing(FileNotFoundError):
    """The corpus or workspace is not where it was."""


class ReviewSession:
    """Clips and decisions of one corpus or workspace; threads may share it."""

    def __init__(self, place: str) -> None:
        """List the clips and read the decisions.

        Raises:
            ValueError: the place is no corpus or workspace of this machine, or is damaged.
        """
        self.place = open_place(place)
        self.name = self.place.folder.name
        self._log = DecisionLog(self.place.folder)
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="film")
        self._films: OrderedDict[object, Future[film.Film]] = OrderedDict()
        self._clips: dict[str, ReviewClip] = {}
        self._by_clip: dict[str, list[Decision]] = {}
        self._arrivals: list[str] = []
        self._latest = "1970-01-01T00:00:00.000000Z"
        self._stamp: object = None
        self._generation = 0
        self._refresh()

    def index(self) -> dict[str, Any]:
        """All clips as they are listed, with what was decided, as JSON values."""
        with self._lock:
            self._refresh()
            return {
                "name": self.name,
                "kind": self.place.kind,
                "reviewer": _user_name(),
                "generation": self._generation,
                "count": len(self._arrivals),
                "damaged": self._log.damaged,
                "numbers": [
                    {"name": name, "title": NUMBERS[name].title, "unit": NUMBERS[name].unit} for name in QUALITY_NUMBERS
                ],
                "clips": [[*_index_values(clip), self._state(clip)] for clip in self._clips.values()],
            }

    def changes(self, since: int) -> dict[str, Any]:
        """Decisions since a page looked last, by how many there were then."""
        with self._lock:
            self._refresh()
            names = dict.fromkeys(self._arrivals[since:])
            states = {name: self._state(self._clips[name]) for name in names if name in self._clips}
            return {"count": len(self._arrivals), "generation": self._generation, "clips": states}

    def details(self, name: str) -> dict[str, Any]:
        """Words, numbers, origin and decisions of one clip as JSON values.

        Raises:
            Conflict: there is no such clip now.
        """
        clip = self._clip(name)
        row = self.place.row(clip)
        quality, provenance = row["quality"], row["provenance"]
        texts = {NUMBERS[number].title: format_number(number, quality) for number in QUALITY_NUMBERS}
        with self._lock:
            decisions = self._by_clip.get(name, [])
            return {
                "fingerprint": clip.fingerprint,
                "caption": row["caption"] or "",
                "effects": list(row["effects"] or ()),
                "reasons": list(quality["reasons"] or ()),
                "numbers": {title: text for title, text in texts.items() if text != "–"},
                "meanings": {number.title: number.meaning for number in NUMBERS.values()},
                "origin": provenance["origin"],
                "licence": provenance["licence"] or "unknown",
                "history": [_history_values(decision, clip.fingerprint) for decision in decisions],
                "state": self._state(clip),
            }

    def still(self, name: str) -> bytes:
        """The middle frame of a clip's gt, small, as JPEG."""
        clip = self._clip(name)
        return film.still(self._layer(clip, "gt"), clip.shape[0])

    def film(self, name: str) -> film.Film:
        """A clip's film, made now or kept.

        Raises:
            concurrent.futures.CancelledError: pages asked for others since.
        """
        clip = self._clip(name)
        with self._lock:
            overlays = overlays_of(self._by_clip.get(name, ()))
            key = (name, clip.fingerprint, *(overlay.id for overlay in overlays))
            future = self._films.get(key)
            if future is None or future.cancelled() or (future.done() and future.exception()):
                waiting = [key for key, made in self._films.items() if not made.done() and not made.running()]
                for old in waiting[:-MAX_WAITING] if len(waiting) > MAX_WAITING else ():
                    self._films.pop(old).cancel()
                future = self._films[key] = self._pool.submit(
                    film.render_film, lambda layer: self.place.layer(clip, layer), clip.fps, overlays
                )
                while len(self._films) > FILMS:
                    self._films.popitem(last=False)
            self._films.move_to_end(key)
        return future.result()

    def frame(self, name: str, layer: str, frame: int) -> bytes:
        """One frame of a layer as PNG, a mask as it was painted.

        Raises:
            Conflict: there is no such layer or frame.
        """
        clip = self._clip(name)
        content = self._layer(clip, layer)
        if frame >= clip.shape[0]:
            raise Conflict(f"{name} has no frame {frame}")
        with self._lock:
            overlays = overlays_of(self._by_clip.get(name, ()))
        digest = hashlib.sha256(content).hexdigest() if overlays else ""
        return film.frame_png(content, frame, painting.overlays_on(overlays, layer, digest))

    def decide(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a decision of a page; when this returns it is on the disk. The same one twice counts once.

        Args:
            values: `id` and `by`; `undo` as true, or `clip`, `layers`, `what` and `value` of the decision.

        Raises:
            ValueError: they are of another form.
            Conflict: the clip was made anew since the page showed it, or there is nothing to undo.
            CannotWrite: the disk is full, or the file cannot be written; nothing of it is kept.
            PlaceMissing: the place is not there any more.
        """
        with self._lock:
            self._refresh()
            name = self._kept_clip(str(values.get("id")))
            if name is None:
                decision = self._undoing(values) if values.get("undo") else self._new(values)
                name = decision.clip
                self._take(self._log.append([decision]))
            clip = self._clip(name)
            return {
                "count": len(self._arrivals),
                "clip": name,
                "state": self._state(clip),
                "history": [_history_values(decision, clip.fingerprint) for decision in self._by_clip[name]],
            }

    def _new(self, values: Mapping[str, Any]) -> Decision:
        clip = self._clip(str(values["clip"]))
        if not clip.fingerprint:
            raise Conflict("this corpus was published before decisions could be kept; publish it again, then review it")
        if values["layers"] != clip.fingerprint:
            raise Conflict(f"{clip.id} was made anew since the page showed it; look at it again, then decide")
        what, value = values["what"], values["value"]
        before = None
        decisions = self._by_clip.get(clip.id, ())
        for decision in decisions:
            if (decision.by, decision.what, decision.layers) == (
                values["by"],
                what,
                clip.fingerprint,
            ) and what != "mask":
                before = decision.value
        decision = Decision(
            id=str(values["id"]),
            clip=clip.id,
            layers=clip.fingerprint,
            by=values["by"],
            at=self._now(),
            what=what,
            value=value,
            before=before,
        )
        return self._painted(decision, clip) if what == "mask" else decision

    def _painted(self, decision: Decision, clip: ReviewClip) -> Decision:
        """A painting with its strokes as they are kept."""
        value = decision.value
        if clip.kind != "real":
            raise Conflict(f"{clip.id} was rendered, so its masks are the truth; paint on masks of real clips")
        if value is None or hashlib.sha256(self._layer(clip, value["layer"])).hexdigest() != value["drawn_on"]:
            raise Conflict(
                f"the mask of {clip.id} was made anew since the page showed it; look at it again, then paint"
            )
        frames, height, width = clip.shape
        return Decision(**{**vars(decision), "value": painting.canonical(value, (height, width), frames)})

    def _undoing(self, values: Mapping[str, Any]) -> Decision:
        decisions = [
            decision for by_clip in self._by_clip.values() for decision in by_clip if decision.by == values["by"]
        ]
        undone = {decision.undoes for decision in decisions}
        open_ones = [decision for decision in decisions if not decision.undoes and decision.id not in undone]
        open_ones = [decision for decision in open_ones if decision.clip in self._clips]
        if not open_ones:
            raise Conflict(f"{values['by']} has decided nothing that could be undone")
        last = max(open_ones, key=lambda decision: decision.order)
        changed = {"id": str(values["id"]), "at": self._now(), "value": last.before, "before": last.value}
        if last.what == "mask":
            changed["before"] = None
        return Decision(**{**vars(last), **changed, "undoes": last.id})

    def _now(self) -> str:
        """The time, later than that of every decision so far, whatever the clock says."""
        after = datetime.strptime(self._latest, TIME).replace(tzinfo=UTC) + timedelta(microseconds=1)
        return max(datetime.now(UTC), after).strftime(TIME)

    def _kept_clip(self, decision_id: str) -> str | None:
        """Clip of a decision that is kept already; its page did not hear of it."""
        if decision_id not in self._log.ids:
            return None
        return next(
            name for name, decisions in self._by_clip.items() if any(each.id == decision_id for each in decisions)
        )

    def _take(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            by_clip = self._by_clip.setdefault(decision.clip, [])
            by_clip.append(decision)
            by_clip.sort(key=lambda each: each.order)
            self._arrivals.append(decision.clip)
            self._latest = max(self._latest, decision.at)

    def _refresh(self) -> None:
        """Take in what changed on the disk.

        Raises:
            PlaceMissing: the place is not there any more.
        """
        try:
            stamp = self.place.stamp()
            if stamp != self._stamp:
                self._clips = {clip.id: clip for clip in self.place.clips()}
                self._stamp, self._generation = stamp, self._generation + 1
        except FileNotFoundError as missing:
            raise PlaceMissing(
                f"{self.place.folder}: the {self.place.kind} is no longer there; put it back, or start the review of "
                "its new place"
            ) from missing
        self._take(self._log.read_new())

    def _clip(self, name: str) -> ReviewClip:
        with self._lock:
            clip = self._clips.get(name)
        if clip is None:
            raise Conflict(f"there is no clip {name!r} any more; load the page again")
        return clip

    def _layer(self, clip: ReviewClip, layer: str) -> bytes:
        content = self.place.layer(clip, layer)
        if content is None:
            raise Conflict(f"{clip.id} has no {layer}")
        return content

    def _state(self, clip: ReviewClip) -> dict[str, Any]:
        """Decisions of people about a clip, weighed, as JSON values."""
        decisions = self._by_clip.get(clip.id, ())
        judgement = weigh_decisions(decisions, clip.fingerprint)
        overlays = [overlay for overlay in overlays_of(decisions) if overlay.layers == clip.fingerprint]
        state: dict[str, Any] = {"verdict": clip.verdict}
        if judgement is not None:
            state |= {
                "verdict": judgement.verdict or clip.verdict,
                "by": judgement.by,
                "disputed": judgement.is_disputed,
            }
        if any(decision.layers != clip.fingerprint for decision in decisions):
            state["old"] = True
        if overlays:
            state["painted"] = sorted({overlay.by for overlay in overlays})
        return state


def _user_name() -> str:
    """The name that a page proposes to whoever opens it."""
    try:
        name = getpass.getuser()
        check_reviewer(name)
    except (OSError, KeyError, ValueError):
        return "me"
    return name


def _index_values(clip: ReviewClip) -> list[Any]:
    words = (clip.id, clip.fingerprint, clip.source, clip.kind, clip.split, clip.effects, clip.caption)
    return [*words, clip.shape, clip.fps, clip.numbers]


def _history_values(decision: Decision, fingerprint: str) -> dict[str, Any]:
    """A decision for its clip's page, without what was painted."""
    value: Any = decision.value
    if decision.what == "mask" and value:
        value = f"{value['layer']}, frames {', '.join(value['frames'])}"
    parts = {name: getattr(decision, name) for name in ("id", "by", "at", "what", "undoes")}
    return {**parts, "value": value, "covers": decision.layers == fingerprint}
