# SPDX-License-Identifier: Apache-2.0
"""A run: candidates that stand side by side, rounds in which each has its turn, and what came out."""
import itertools
import sys
import time

from . import measure
from .load import Service
from .pairs import Pair
from .processes import Group, Trouble, free_port


class Bench:
    def __init__(self, shop, binary, candidates):
        self.shop, self.binary = shop, binary
        self.service = Service(binary, free_port())
        self.pairs = {}
        self.troubles = {}  # (test or "start", candidate) -> why there is no value
        self.values = {}    # test -> candidate -> list of what run_one() gave, None where there is none
        self._serial = itertools.count()
        self.candidates = [c for c in candidates if self._is_there(c)]

    def _is_there(self, candidate):
        why = candidate.missing(self.shop)
        if why:
            self._trouble("start", candidate, why)
        return not why

    def _trouble(self, where, candidate, why):
        self.troubles[(where, candidate.name)] = str(why)
        say(f"{candidate.name}: {where}: {why}")

    def open_pair(self, candidate):
        return Pair(candidate, self.shop, self.service.port, next(self._serial))

    def pair(self, candidate):
        """The one that stands; it is started and checked when it is first needed."""
        pair = self.pairs.get(candidate.name)
        if pair is None:
            pair = self.open_pair(candidate)
            self.pairs[candidate.name] = pair
            measure.check(pair, self.binary)
        return pair

    def ingress_command(self, candidate):
        port = free_port()
        argv, env = candidate.command(self.shop, f"{candidate.name}-start", "ingress", port, free_port())
        return argv, env, port

    def start(self, argv, env, name):
        return Group(argv, self.shop.folder / f"{name}.log", env)

    def _run_one(self, test, scale, candidate):
        if (test.name, candidate.name) in self.troubles:
            return None
        try:
            return measure.run_one(test, scale, candidate, self)
        except Trouble as why:
            self._trouble(test.name, candidate, why)
            pair = self.pairs.pop(candidate.name, None)
            if pair:
                pair.stop()
            return None

    def run(self, scale, tests):
        alone = [t for t in tests if measure.wants_silence(t)]
        for some in (alone, [t for t in tests if t not in alone]):
            self._run_rounds(scale, some)

    def _run_rounds(self, scale, tests):
        """Rounds outermost, so that the moods of the machine fall on all tests; within a round the candidates of a
        test follow each other closely, so that their ratio is one of the same minute."""
        begun = time.monotonic()
        for number in range(max((measure.rounds_of(t, scale) for t in tests), default=0)):
            for test in tests:
                if number >= measure.rounds_of(test, scale):
                    continue
                say(f"[{time.monotonic() - begun:5.0f} s] round {number + 1} of {measure.rounds_of(test, scale)}: {test.title}")
                turn = [c for c in self.candidates if c.name in test.candidates]
                for candidate in turn[number % max(len(turn), 1):] + turn[:number % max(len(turn), 1)]:
                    value = self._run_one(test, scale, candidate)
                    self.values.setdefault(test.name, {}).setdefault(candidate.name, []).append(value)

    def close(self):
        for pair in self.pairs.values():
            pair.stop()
        self.service.stop()


def say(text):
    print(text, file=sys.stderr, flush=True)
