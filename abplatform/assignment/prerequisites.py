"""Prerequisites between experiments: what makes a set of them one that can be evaluated, and quickly."""

from __future__ import annotations

from collections.abc import Collection, Mapping

MAX_EVALUATIONS = 100


def check_prerequisites(needs: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Return what is wrong with the prerequisites of each experiment: key -> message, empty if all is well.

    ``needs`` holds, for each experiment, the experiments that it needs; those that are not a key of it need nothing.
    An experiment must not need itself, through others or not, and evaluating it must not take more than 100
    evaluations in all, its own included.

    >>> check_prerequisites({"a": ["b"], "b": ["c"], "c": ["b"], "d": []})
    {'b': 'form a circle', 'c': 'form a circle', 'a': 'need an experiment whose own prerequisites cannot be evaluated'}
    """
    problems: dict[str, str] = {}
    counts: dict[str, int] = {}
    waiting = dict(needs)
    # Each round settles the experiments whose needs are settled; what is left is in a circle, or behind one.
    while ready := [key for key, needed in waiting.items() if not any(other in waiting for other in needed)]:
        for key in ready:
            counts[key] = 1 + sum(counts.get(other, 1) for other in waiting.pop(key))
            if counts[key] > MAX_EVALUATIONS:
                problems[key] = f"take more than {MAX_EVALUATIONS} evaluations"
    circles = {key for key in waiting if _reaches(waiting, key)}
    problems |= {key: "form a circle" for key in waiting if key in circles}
    behind = "need an experiment whose own prerequisites cannot be evaluated"
    return problems | {key: behind for key in waiting if key not in circles}


def _reaches(needs: Mapping[str, Collection[str]], key: str) -> bool:
    """Tell whether an experiment needs itself."""
    seen: set[str] = set()
    stack = list(needs[key])
    while stack:
        other = stack.pop()
        if other == key:
            return True
        if other not in seen:
            seen.add(other)
            stack.extend(needs.get(other, ()))
    return False
