"""Rules made of rules: any, all, not, after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, Stop, StoppingRule, UsageError, option

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["After", "AllOf", "AnyOf", "Not"]

_LEVELS = ("judge_trial", "judge_study", "promote")


@attrs.define(kw_only=True)
class _Several:
    rules: list[StoppingRule] = option(help="The rules: tables like { use = 'median', ... }.")

    def __attrs_post_init__(self) -> None:
        if not self.rules:
            raise UsageError(Mistake("rules", "Must hold at least one rule. Got none."))
        for i, rule in enumerate(self.rules):
            _check_rule(rule, f"rules[{i}]")

    def _able(self, level: str) -> list[Any]:
        """The rules that judge at a level; the others have no opinion on it."""
        return [rule for rule in self.rules if _is_able(rule, level)]

    def promote(self, history: History) -> int | None:
        """The first trial that any of the rules names."""
        named = (rule.promote(history) for rule in self._able("promote"))
        return next((number for number in named if number is not None), None)


@attrs.define(kw_only=True)
class AnyOf(_Several):
    """Stops when any of several rules says so; one that stops goes before one that pauses.

    A paused trial goes on when any of the rules promotes it.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """The first stop that a rule asks for, else the first pause."""
        return self._first(rule.judge_trial(history, trial) for rule in self._able("judge_trial"))

    def judge_study(self, history: History) -> Stop | None:
        """The first stop that a rule asks for."""
        decision = self._first(rule.judge_study(history) for rule in self._able("judge_study"))
        return decision if isinstance(decision, Stop) else None

    def retire(self, history: History) -> Mapping[int, Stop]:
        """The paused trials that any of the rules gives up."""
        found: dict[int, Stop] = {}
        for rule in reversed(self._able("retire")):  # of several, the first one says why
            found |= rule.retire(history) or {}
        return found

    def _first(self, answers: Iterator[Stop | Pause | None]) -> Stop | Pause | None:
        pause = None
        for answer in answers:
            if isinstance(answer, Stop):
                return answer
            pause = pause or answer
        return pause


@attrs.define(kw_only=True)
class AllOf(_Several):
    """Stops when all of several rules say so: all that judge trials for a trial, all that judge studies for the study.

    A rule that judges no trials has no opinion on them, and where none has an opinion nothing stops. If all want an end
    but some only a pause, the trial is paused; it goes on when any of the rules promotes it.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """A stop or pause that all rules on trials ask for."""
        return _agreed([rule.judge_trial(history, trial) for rule in self._able("judge_trial")])

    def judge_study(self, history: History) -> Stop | None:
        """A stop that all rules on studies ask for."""
        decision = _agreed([rule.judge_study(history) for rule in self._able("judge_study")])
        return decision if isinstance(decision, Stop) else None

    def retire(self, history: History) -> Mapping[int, Stop]:
        """The paused trials that all rules on trials give up."""
        said = [_ask(rule, "retire", history) or {} for rule in self._able("judge_trial")]
        numbers = sorted(set.intersection(*map(set, said))) if said else []
        agreed = {number: _agreed([answer[number] for answer in said]) for number in numbers}
        return {number: stop for number, stop in agreed.items() if isinstance(stop, Stop)}


@attrs.define(kw_only=True)
class After:
    """Holds a rule back: it is heard only from a number of complete trials, or from a step of a trial, on.

    Promotions are never held back: what the rule paused may go on.
    """

    rule: StoppingRule = option(help="The rule: a table like { use = 'median', ... }.")
    trials: int = option(0, ge=0, help="Complete trials that the study must have.")
    steps: int = option(0, ge=0, help="The step that a trial must have reported.")

    def __attrs_post_init__(self) -> None:
        _check_rule(self.rule, "rule")

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """What the rule says, from ``trials`` and ``steps`` on."""
        early = len(history.complete) < self.trials or not trial.reports or trial.reports[-1].step < self.steps
        return None if early else _ask(self.rule, "judge_trial", history, trial)

    def judge_study(self, history: History) -> Stop | None:
        """What the rule says, from ``trials`` on."""
        early = len(history.complete) < self.trials
        return None if early else _ask(self.rule, "judge_study", history)

    def retire(self, history: History) -> Mapping[int, Stop]:
        """What the rule says, from ``trials`` and ``steps`` on."""
        early = len(history.complete) < self.trials
        found = {} if early else _ask(self.rule, "retire", history) or {}
        return {n: stop for n, stop in found.items() if history.trials[n].reports[-1].step >= self.steps}

    def promote(self, history: History) -> int | None:
        """What the rule says."""
        number: int | None = _ask(self.rule, "promote", history)
        return number


@attrs.define(kw_only=True)
class Not:
    """Stops where another rule would let it go on; of use inside `all`: this rule, but not that one.

    It judges what the rule judges. A pause is an end too, so it is let go on; nothing is promoted, as the rule itself
    has paused nothing here.
    """

    rule: StoppingRule = option(help="The rule: a table like { use = 'plateau', ... }.")

    def __attrs_post_init__(self) -> None:
        _check_rule(self.rule, "rule")

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """A stop where the rule judges trials and asks for none."""
        return self._turned("judge_trial", history, trial)

    def judge_study(self, history: History) -> Stop | None:
        """A stop where the rule judges studies and asks for none."""
        return self._turned("judge_study", history)

    def _turned(self, level: str, *arguments: Any) -> Stop | None:
        if not _is_able(self.rule, level) or _ask(self.rule, level, *arguments) is not None:
            return None
        return Stop(f"not {type(self.rule).__name__.lower()}")


def _ask(rule: Any, level: str, *arguments: Any) -> Any:
    """What a rule says at a level; None where it has no opinion."""
    return getattr(rule, level)(*arguments) if _is_able(rule, level) else None


def _is_able(rule: Any, level: str) -> bool:
    """Whether a rule judges at a level; one that is made of rules does if one of them does."""
    if isinstance(rule, _Several):
        return any(_is_able(part, level) for part in rule.rules)
    if isinstance(rule, Not) and level in ("promote", "retire"):
        return False
    if isinstance(rule, (After, Not)):
        return _is_able(rule.rule, level)
    return callable(getattr(rule, level, None))


def _check_rule(rule: object, path: str) -> None:
    if not any(callable(getattr(rule, level, None)) for level in _LEVELS):
        raise UsageError(Mistake(path, f"Must be a stopping rule. Got {type(rule).__name__} {rule!r:.80}."))


def _agreed(answers: Sequence[Stop | Pause | None]) -> Stop | Pause | None:
    said = [answer for answer in answers if answer is not None]
    if not said or len(said) < len(answers):
        return None
    kind = Stop if all(isinstance(answer, Stop) for answer in said) else Pause
    reason = "; ".join(dict.fromkeys(answer.reason for answer in said))
    return kind(reason, {"all": [{"reason": answer.reason, **answer.evidence} for answer in said]})
