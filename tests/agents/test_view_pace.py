"""Which view is learned when: by the progress of its loss, by hand, and saved with the run."""

from dataclasses import replace

import pytest
import torch

from spl.agents.curriculum_config import ReplayCurriculumConfig
from spl.agents.train import train_agent
from spl.agents.view_pace import FLOOR, FORMER, NEWEST, ViewPace
from spl.config.errors import UsageError
from tests.agents.test_loop import Bench
from tests.agents.test_train import quiet, state_of


def test_the_first_update_weighs_all_views_alike() -> None:
    assert ViewPace().weights(torch.tensor([3.0, 1.0, 0.5])).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_the_second_update_by_hand() -> None:
    pace = ViewPace()
    pace.weights(torch.tensor([1.0, 1.0, 1.0]))
    weights = pace.weights(torch.tensor([0.5, 1.0, 2.0]))
    # corrected means after 1 and x: (1 (1 - r) + x) / (2 - r), nearer to x for the newest
    newest, former = (((1 - rate) + 0.5) / (2 - rate) for rate in (NEWEST, FORMER))
    assert 0 < former - newest < 0.01
    # the first view alone progresses, so it has all that is given away: 3 (1 - floor) beside the floor
    assert weights.tolist() == pytest.approx([FLOOR + 3 * (1 - FLOOR), FLOOR, FLOOR], abs=1e-3)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-3)


def test_two_that_progress_share_by_how_much_and_one_that_rises_has_the_floor() -> None:
    pace = ViewPace()
    for step in range(400):
        weights = pace.weights(torch.tensor([0.99**step, 0.998**step, 1.01**step]))
    assert weights[0] > weights[1] > weights[2]
    assert weights[2].item() == pytest.approx(FLOOR)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-3)
    for _ in range(20_000):  # nothing moves any more
        weights = pace.weights(torch.tensor([0.1, 0.2, 0.3]))
    assert weights.tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_the_state_goes_on() -> None:
    draws = torch.rand(30, 3, generator=torch.Generator().manual_seed(0))
    whole, first, second = ViewPace(), ViewPace(), ViewPace()
    expected = [whole.weights(losses) for losses in draws]
    found = [first.weights(losses) for losses in draws[:10]]
    second.load_state_dict(first.state_dict())
    found += [second.weights(losses) for losses in draws[10:]]
    assert torch.equal(torch.stack(found), torch.stack(expected))
    ViewPace().load_state_dict(ViewPace().state_dict())


def test_the_update_is_that_of_the_weighted_views() -> None:
    plain, paced = Bench(thirds="auto"), Bench(thirds="auto")
    curriculum = paced.curriculum(views="progress")
    curriculum.views.weights = lambda losses: torch.tensor([3.0, 0.0, 0.0])  # type: ignore[method-assign, union-attr]
    for bench in (plain, paced):
        bench.collect(40)
    places = paced.curriculum().draw(8, 0).places[:4]  # as the loop will draw them
    expected = paced.agent.losses(paced.memory.at(places), paced.memory.one_ahead(places))[:4]
    found = next(paced.learning(curriculum=curriculum))
    assert found[0].item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert found[0].item() != pytest.approx(next(plain.learning())[0].item())


def test_a_run_that_weighs_views_resumes_to_the_bit_and_differs_from_one_that_does_not(smoke) -> None:
    config = smoke("--curriculum.views", "progress", "--agent.thirds", "asymmetric", "--num_steps", "110")
    whole = state_of(train_agent(config, console=quiet()).folder)
    folder = train_agent(replace(config, num_steps=97), console=quiet()).folder
    assert state_of(train_agent(config, resume=folder, console=quiet()).folder) == whole
    alike = replace(config, curriculum=ReplayCurriculumConfig())
    assert state_of(train_agent(alike, console=quiet()).folder) != whole


def test_there_must_be_views(smoke) -> None:
    with pytest.raises(UsageError, match=r"of which there are none \(agent.thirds=none\): leave it out"):
        train_agent(smoke("--curriculum.views", "progress", "--agent.thirds", "none"), console=quiet())
    assert ReplayCurriculumConfig(views="progress").named("self-paced").views == "progress"
