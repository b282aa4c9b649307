"""Rules that combine other rules: `any`, `all`, `not` and `after`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, Stop, StoppingRule, UsageError, option
from hpt_stopping_basic import hpt_stopping_rules
from hpt_stopping_basic.watch import begins_late

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["After", "AllOf", "AnyOf", "Not"]

_LEVELS = ("judge_trial", "judge_study", "promote")


@attrs.define(kw_only=True)
class _Several:
    rules: list[StoppingRule] = option(help="The rules to combine: tables like { use = 'median', ... }.")

    def __attrs_post_init__(self) -> None:
        if not self.rules:
            raise UsageError(Mistake("rules", "Must hold at least one rule. Got none."))
        for i, rule in enumerate(self.rules):
            _check_rule(rule, f"rules[{i}]")

    def _able(self, level: str) -> list[Any]:
        """The rules that have the method ``level``."""
        return [rule for rule in self.rules if _is_able(rule, level)]

    def promote(self, history: History) -> int | None:
        """Return the first trial that any of the rules promotes."""
        named = (rule.promote(history) for rule in self._able("promote"))
        return next((number for number in named if number is not None), None)


@attrs.define(kw_only=True)
class AnyOf(_Several):
    """Stops when any of several rules stops; a stop takes precedence over a pause.

    A paused trial is resumed when any of the rules promotes it.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Return the first stop of a rule, else the first pause."""
        pause: Pause | None = None
        for rule in self._able("judge_trial"):
            answer = rule.judge_trial(history, trial)
            if isinstance(answer, Stop):
                return answer
            pause = pause or answer
        return pause

    def judge_study(self, history: History) -> Stop | None:
        """Return the first stop of a rule."""
        answers = (rule.judge_study(history) for rule in self._able("judge_study"))
        return next((stop for stop in answers if stop is not None), None)

    def retire(self, history: History) -> Mapping[int, Stop]:
        """Return the paused trials that any of the rules retires."""
        found: dict[int, Stop] = {}
        for rule in reversed(self._able("retire")):  # the reason of the first rule wins
            found |= rule.retire(history) or {}
        return found


@attrs.define(kw_only=True)
class AllOf(_Several):
    """Stops when several rules agree: a trial when all rules that judge trials do, the study likewise.

    A rule that does not judge trials is ignored for trials, and so for studies. If no rule is left, nothing is stopped.
    If all rules that judge trials act but some of them only pause, the trial is paused. It is resumed when any of the
    rules promotes it. A trial is complete if all of them say so, else stopped.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Stop or pause the trial if all rules on trials do."""
        return _agreed([rule.judge_trial(history, trial) for rule in self._able("judge_trial")])

    def judge_study(self, history: History) -> Stop | None:
        """Stop the study if all rules on studies do."""
        decision = _agreed([rule.judge_study(history) for rule in self._able("judge_study")])
        return decision if isinstance(decision, Stop) else None

    def retire(self, history: History) -> Mapping[int, Stop]:
        """Return the paused trials that all rules on trials retire."""
        retired = [_call(rule, "retire", history) or {} for rule in self._able("judge_trial")]
        numbers = sorted(set.intersection(*map(set, retired))) if retired else []
        agreed = {number: _agreed([stops[number] for stops in retired]) for number in numbers}
        return {number: stop for number, stop in agreed.items() if isinstance(stop, Stop)}


@attrs.define(kw_only=True)
class After:
    """Applies a rule only after a number of complete trials, or from a step of the trial on.

    Promotions are not delayed, so a trial that the rule has paused can always be resumed.
    """

    rule: StoppingRule = option(help="The rule to delay: a table like { use = 'median', ... }.")
    trials: int = option(0, ge=0, help="Complete trials that the study must have before the rule applies.")
    steps: int = option(0, ge=0, help="Step that a trial must have reported before the rule applies to it.")

    def __attrs_post_init__(self) -> None:
        _check_rule(self.rule, "rule")

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn if no trial gets as far as ``steps``."""
        judges_trials = _is_able(self.rule, "judge_trial")
        return begins_late(kind, self.steps, "steps", steps, at_last=True) if judges_trials else None

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Return the rule's decision, once the study has ``trials`` and the trial ``steps``."""
        early = len(history.complete) < self.trials or not trial.reports or trial.reports[-1].step < self.steps
        return None if early else _call(self.rule, "judge_trial", history, trial)

    def judge_study(self, history: History) -> Stop | None:
        """Return the rule's decision, once the study has ``trials``."""
        early = len(history.complete) < self.trials
        return None if early else _call(self.rule, "judge_study", history)

    def retire(self, history: History) -> Mapping[int, Stop]:
        """Return the trials that the rule retires, once the study has ``trials`` and they have ``steps``."""
        early = len(history.complete) < self.trials
        found = {} if early else _call(self.rule, "retire", history) or {}
        return {n: stop for n, stop in found.items() if history.trials[n].reports[-1].step >= self.steps}

    def promote(self, history: History) -> int | None:
        """Return the trial that the rule promotes."""
        number: int | None = _call(self.rule, "promote", history)
        return number


@attrs.define(kw_only=True)
class Not:
    """Stops where another rule would not; for use inside `all` ("this rule, but not that one").

    It judges trials or studies as ``rule`` does. Where ``rule`` stops or pauses, it does nothing. It promotes and
    retires no trials, as ``rule`` pauses none here.
    """

    rule: StoppingRule = option(help="The rule to negate: a table like { use = 'plateau', ... }.")

    def __attrs_post_init__(self) -> None:
        _check_rule(self.rule, "rule")

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop the trial if the rule judges trials and neither stops nor pauses this one."""
        return self._negated("judge_trial", history, trial)

    def judge_study(self, history: History) -> Stop | None:
        """Stop the study if the rule judges studies and does not stop this one."""
        return self._negated("judge_study", history)

    def _negated(self, level: str, *arguments: Any) -> Stop | None:
        if not _is_able(self.rule, level) or _call(self.rule, level, *arguments) is not None:
            return None
        return Stop(f"not {_name(self.rule)}")


def _name(rule: object) -> str:
    """The name of a rule in study files; for one of another plugin, its class in lower case."""
    cls = type(rule)
    names = {target: name for name, target in hpt_stopping_rules().items()}
    return names.get(f"{cls.__module__}:{cls.__qualname__}", cls.__name__.lower())


def _call(rule: Any, level: str, *arguments: Any) -> Any:
    """Call the method ``level`` of a rule; None if the rule does not have it."""
    return getattr(rule, level)(*arguments) if _is_able(rule, level) else None


def _is_able(rule: Any, level: str) -> bool:
    """Whether a rule has the method ``level``; a combination has it if one of its rules does."""
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
    """The decision that all answers amount to; None if there are none or one of them is None."""
    decisions = [answer for answer in answers if answer is not None]
    if not decisions or len(decisions) < len(answers):
        return None
    reason = "; ".join(dict.fromkeys(decision.reason for decision in decisions))
    evidence = {"all": [{"reason": decision.reason, **decision.evidence} for decision in decisions]}
    stops = [decision for decision in decisions if isinstance(decision, Stop)]
    if len(stops) < len(decisions):
        return Pause(reason, evidence)
    return Stop(reason, evidence, complete=all(stop.complete for stop in stops))
