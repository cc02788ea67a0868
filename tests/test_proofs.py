"""Of a long proof all cases run where that is asked for, else a spread tenth."""

from __future__ import annotations

import pytest

from tests.support.proofs import chosen


def test_all_cases_run_when_the_proof_is_asked_for():
    assert chosen(40, "proof") == list(range(40))
    assert chosen(40, "proof and not slow") == list(range(40))


@pytest.mark.parametrize("cases", [7, 40, 1000])
def test_else_one_of_each_ten_runs_and_always_the_same(cases):
    tenth = chosen(cases, "slow or not slow")
    assert [case // 10 for case in tenth] == list(range((cases + 9) // 10))
    assert max(tenth) < cases
    assert tenth == chosen(cases, "slow")


@pytest.mark.proof(20)
def test_a_proof_knows_its_cases(case, cases, request):
    whole = "proof" in request.config.getoption("markexpr")
    assert case in cases and len(cases) == (20 if whole else 2)
    assert request.node.get_closest_marker("slow")
