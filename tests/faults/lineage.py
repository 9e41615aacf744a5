"""What became of every version that two drives saved: the proof that nothing unseen was destroyed.

Every version has a token of its own. From the diaries of the programs comes which versions each act *sees*, and so may
destroy: those that it had read, or held open, when it replaced or removed them. From the witness comes which attachment
held which version, who was told of it, and who removed it. Pure.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.faults.account import Finding

EXPECTED = {"ENOENT", "EEXIST", "ESTALE"}
"""What a program may meet where another drive is faster."""
_AFTERWARDS = 1.0
"""Seconds after an act has returned in which a drive may still do what that act only guessed at."""
_TOLD_APART = re.compile(r" \([0-9a-f]{6,}\)(?=(\.[^.]*)?\Z)")
"""What tells files of equal titles apart in a directory, and is in the title of a file that was given such a name."""


class Held(NamedTuple):
    """An attachment: which version, and where."""

    token: str
    where: str


class Lineage:
    """All versions of a quarrel.

    Attributes:
        findings: What may not be.
        live: How many attachments hold each version.
        counts: What was found out, for people.
    """

    def __init__(self, diaries: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Read the diaries.

        Args:
            diaries: By drive (the caller that the witness knows), the entries of all its programs.
        """
        self.findings: list[Finding] = []
        self.live: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._token_of: dict[str, str] = {}
        self._accepted: set[str] = set()
        self._author: dict[str, str] = {}
        self._sees: dict[str, list[tuple[str, float]]] = defaultdict(list)
        self._moves: dict[str, list[str]] = defaultdict(list)
        self._guesses: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self._read: list[tuple[str, str]] = []
        self._attachments: dict[str, Held] = {}
        self._known: dict[str, set[str]] = defaultdict(set)
        self._ever: set[str] = set()
        for drive, entries in diaries.items():
            begun, guesses = 0.0, list[str]()
            for entry in entries:
                self._take(drive, entry)
                begun = entry["at"] if "act" in entry else begun
                if "guess" in entry:
                    guesses += {entry["guess"], _TOLD_APART.sub("", entry["guess"])}
                elif "told" in entry:
                    for where in guesses:
                        self._guesses[drive, where].append((begun, entry["at"] + _AFTERWARDS))
                    guesses.clear()

    def _take(self, drive: str, entry: Mapping[str, Any]) -> None:
        match entry:
            case {"read": md5, "path": path}:
                self._read.append((md5, path))
            case {"act": act, "at": at, "path": _}:
                self.counts[f"{act}s"] += 1
                if "token" in entry:
                    self._token_of[entry["md5"]] = entry["token"]
                    self._author[entry["token"]] = drive
                if "moves" in entry:
                    self._moves[entry["moves"]].append(drive)
                for token in entry.get("sees", ()):
                    self._sees[token].append((drive, at))
            case {"told": "done"}:
                if "token" in entry:
                    self._accepted.add(entry["token"])
            case {"told": "failed", "errno": errno}:
                self.counts[f"{errno} at {entry['where']}"] += 1
                if errno not in EXPECTED:
                    self.findings.append(Finding("error", f"{drive}: {dict(entry)}"))
            case {"moved": token}:
                self._moves[token].append(drive)
            case {"guess": _}:
                # What was replaced is not what the program had read: it is what its drive listed under the name.
                self.counts["acts on a version that was only listed"] += 1

    def watch(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Go through what the witness saw."""
        for event in events:
            who, attachment = event["who"], event["id"]
            match event["what"]:
                case "told":
                    self._known[who].add(attachment)
                case "added":
                    self._known[who].add(attachment)
                    self._added(event)
                case "removed":
                    self._removed(who, attachment, event["at"])

    def _added(self, event: Mapping[str, Any]) -> None:
        token = self._token_of.get(event["md5"])
        if token is None:
            self.findings.append(
                Finding("half", f"{event['name']}: {event['who']} brought up what nobody saved")
            )
            return
        self._attachments[event["id"]] = Held(token, f"{event['place']}/{event['name']}")
        self.live[token] += 1
        self._ever.add(token)
        self.counts["conflicts"] += " (conflict " in event["name"]

    def _removed(self, who: str, attachment: str, at: float) -> None:
        held = self._attachments.pop(attachment, None)
        if attachment not in self._known[who]:
            self.findings.append(Finding("unseen", f"{who} removed {held}, of which it was never told"))
        if held is None:
            return
        self.live[held.token] -= 1
        if self.live[held.token] or self._was_meant(who, held, at):
            return
        self.findings.append(
            Finding("destroyed", f"{who} removed the last of {held}, which nobody there had seen")
        )

    def _was_meant(self, who: str, held: Held, at: float) -> bool:
        seers = {drive for drive, begun in self._sees[held.token] if begun <= at}
        if who in seers or (seers and who in self._moves[held.token]):
            return True
        return any(begun <= at <= ended for begun, ended in self._guesses[who, held.where])

    def judge(self, kept: Iterable[str] = ()) -> list[Finding]:
        """The end: what is lost, doubled, or was read and never saved.

        Args:
            kept: The MD5 of every file that stands in a drive under a local name.
        """
        here = {self._token_of.get(md5, "") for md5 in kept}
        for token in sorted(self._accepted - here):
            if not self.live[token] and token not in self._ever and not self._sees[token]:
                self.findings.append(Finding("lost", f"{token} was saved, and never stood on the platform"))
        for token, count in self.live.items():
            # Two drives that rename the same file at once both keep it.
            others = sum(drive != self._author[token] for drive in self._moves[token])
            self.counts["versions renamed by both, kept twice"] += 1 < count <= 1 + others
            if count > 1 + others:
                where = [held.where for held in self._attachments.values() if held.token == token]
                self.findings.append(Finding("doubled", f"{token} stands {count} times: {where}"))
        for md5, path in self._read:
            if md5 not in self._token_of:
                self.findings.append(Finding("half", f"{path}: bytes were read that nobody saved"))
        self.counts["versions saved"] = len(self._accepted)
        self.counts["versions that stand"] = sum(count > 0 for count in self.live.values())
        return self.findings
