"""How parts are joined: the weights follow what rows show that no part has seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.mixing import PartOutputs, Restore, fit_mix
from models.networks.blend import mix_outputs
from models.networks.heads.config import HeadConfig

HEAD = HeadConfig()


def draw_logits(codes: np.ndarray, accuracy: float, seed: int, scale: float = 4.0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    said = np.where(draw.random(len(codes)) < accuracy, codes, draw.integers(0, 3, len(codes)))
    return torch.from_numpy(scale * np.eye(3)[said] + draw.normal(0, 0.1, (len(codes), 3))).float()


def test_a_part_that_is_clearly_worse_has_no_weight() -> None:
    codes = np.arange(600) % 3
    good, bad = draw_logits(codes, 0.97, 0), draw_logits(codes, 0.0, 1)

    mix = fit_mix(PartOutputs([bad, good], torch.from_numpy(codes)[:, None]), "category", HEAD)

    assert mix.weights[0] <= 0.1


def test_parts_that_are_equally_good_have_equal_weights() -> None:
    codes = np.arange(60) % 3
    parts = [draw_logits(codes, 0.9, seed) for seed in range(3)]

    mix = fit_mix(PartOutputs(parts, torch.from_numpy(codes)[:, None]), "category", HEAD)

    assert mix.weights == pytest.approx((1 / 3,) * 3)


def test_overconfident_logits_are_cooled_down() -> None:
    codes = np.arange(300) % 3
    calm, loud = draw_logits(codes, 0.8, 0), draw_logits(codes, 0.8, 1, scale=40.0)

    mix = fit_mix(PartOutputs([calm, loud], torch.from_numpy(codes)[:, None]), "category", HEAD)

    assert mix.temperatures[1] > 5 * mix.temperatures[0]


def test_few_rows_that_are_all_classified_correctly_leave_room_for_doubt() -> None:
    codes = torch.arange(12)[:, None] % 3
    perfect = torch.eye(3)[codes[:, 0]]

    mix = fit_mix(PartOutputs([perfect, perfect], codes), "category", HEAD)

    probabilities = mix_outputs([perfect, perfect], mix, "category").exp()
    assert probabilities.max() < 0.95


def test_two_rows_do_not_choose_a_network_that_guessed_them() -> None:
    codes = torch.tensor([[0], [1]])
    lucky, branch = 9 * torch.eye(3)[:2], torch.eye(3)[:2] + 0.1

    mix = fit_mix(PartOutputs([lucky, branch, branch], codes), "category", HEAD)

    assert mix.weights == (0.0, 1.0, 0.0)


def test_a_useless_part_does_not_spoil_two_that_are_good() -> None:
    codes = np.arange(300) % 3
    good = [draw_logits(codes, 0.85, seed) for seed in range(2)]
    useless = draw_logits(codes, 0.0, 9)

    mix = fit_mix(PartOutputs([*good, useless], torch.from_numpy(codes)[:, None]), "category", HEAD)

    assert mix.weights == pytest.approx((0.5, 0.5, 0.0))


def test_rows_that_chose_the_epochs_give_the_recurrent_part_no_more_than_its_share() -> None:
    codes = np.arange(600) % 3
    parts = [draw_logits(codes, 0.95, 0), draw_logits(codes, 0.8, 1)]
    targets = torch.from_numpy(codes)[:, None]

    independent = fit_mix(PartOutputs(parts, targets), "category", HEAD)
    flattering = fit_mix(PartOutputs(parts, targets, chose_epochs=True), "category", HEAD)

    assert independent.weights[0] > 0.5
    assert flattering.weights[0] == pytest.approx(0.5)


@pytest.mark.parametrize("accuracy", [0.4, 0.6, 0.75, 0.9])
def test_the_mix_has_no_larger_log_loss_than_a_branch_alone(accuracy: float) -> None:
    codes = np.arange(90) % 3
    targets = torch.from_numpy(codes)[:, None]
    parts = [draw_logits(codes, accuracy, 0), draw_logits(codes, 0.9, 1)]

    mix = fit_mix(PartOutputs(parts, targets, chose_epochs=True), "category", HEAD)

    losses = [
        float(functional.cross_entropy(mix_outputs(parts, each, "category"), targets[:, 0]))
        for each in (mix, replace(mix, weights=(0.0, 1.0)))
    ]
    assert losses[0] <= losses[1] + 1e-6


def test_the_mean_of_calibrated_parts_is_sharpened() -> None:
    codes = np.arange(300) % 3
    parts = [draw_logits(codes, 0.8, seed) for seed in range(4)]

    mix = fit_mix(PartOutputs(parts, torch.from_numpy(codes)[:, None]), "category", HEAD)

    probability = float(mix_outputs(parts, mix, "category").softmax(dim=1).max(dim=1).values.mean())
    hits = mix_outputs(parts, mix, "category").argmax(dim=1).numpy() == codes
    assert probability == pytest.approx(hits.mean(), abs=0.05)


def test_the_joined_outputs_of_classes_are_log_probabilities_of_each_part_alone() -> None:
    codes = torch.arange(30)[:, None] % 3
    parts = [draw_logits(codes[:, 0].numpy(), 0.9, seed) for seed in range(2)]
    mix = fit_mix(PartOutputs(parts, codes), "category", HEAD)

    alone = mix_outputs(
        [parts[0], None],
        mix.__class__(weights=(1.0, 0.0), temperatures=mix.temperatures),
        "category",
    )

    torch.testing.assert_close(alone.exp().sum(dim=1), torch.ones(30))


def test_numbers_stay_with_the_branch_unless_the_mix_is_better() -> None:
    draw = np.random.default_rng(4)
    targets = torch.from_numpy(draw.normal(size=(400, 2)))
    branch = targets + torch.from_numpy(draw.normal(0, 0.1, (400, 2)))
    noise = torch.from_numpy(draw.normal(0, 5, (400, 2)))

    mix = fit_mix(PartOutputs([noise, branch], targets), "forecast", HEAD)

    assert mix.weights == (0.0, 1.0)


def test_independent_errors_of_numbers_are_averaged() -> None:
    draw = np.random.default_rng(5)
    targets = torch.from_numpy(draw.normal(size=(400, 1)))
    parts = [targets + torch.from_numpy(draw.normal(0, 0.3, (400, 1))) for _ in range(2)]

    mix = fit_mix(PartOutputs(parts, targets), "number", HEAD)

    assert 0.3 <= mix.weights[0] <= 0.7


@pytest.mark.parametrize(
    ("loss", "numbers"), [("quantile", 3), ("gaussian_nll", 2), ("student_t", 3), ("mae", 1)]
)
def test_a_branch_gives_every_number_of_a_prediction(loss: str, numbers: int) -> None:
    draw = np.random.default_rng(6)
    targets = torch.from_numpy(draw.normal(size=(500, 1)))
    branch = torch.zeros(500, 1)
    head = HeadConfig(loss=loss)

    mix = fit_mix(PartOutputs([torch.full((500, numbers), 9.0), branch], targets), "number", head)
    mixed = mix_outputs([None, branch], mix, "number")

    assert mixed.shape == (500, numbers)
    if loss == "quantile":
        assert mixed[0].tolist() == pytest.approx([-1.28, 0.0, 1.28], abs=0.2)
    if loss == "gaussian_nll":
        assert mixed[0].tolist() == pytest.approx([0.0, 1.0], abs=0.1)


def test_of_few_windows_the_recurrent_part_has_no_more_than_a_half() -> None:
    draw = np.random.default_rng(7)
    targets = torch.from_numpy(draw.normal(size=(17, 12)))
    better = targets + torch.from_numpy(draw.normal(0, 0.1, (17, 12)))
    branch = targets + torch.from_numpy(draw.normal(0, 0.3, (17, 12)))

    mix = fit_mix(PartOutputs([better, branch], targets, horizon=12), "forecast", HEAD)
    swapped = fit_mix(PartOutputs([branch, better], targets, horizon=12), "forecast", HEAD)

    assert mix.weights == (0.5, 0.5)
    assert swapped.weights == (0.0, 1.0)


def test_of_many_windows_the_recurrent_part_may_have_all_weight_if_it_is_clearly_better() -> None:
    draw = np.random.default_rng(8)
    targets = torch.from_numpy(draw.normal(size=(400, 3)))
    better = targets + torch.from_numpy(draw.normal(0, 0.05, (400, 3)))
    branch = targets + torch.from_numpy(draw.normal(0, 2.0, (400, 3)))

    mix = fit_mix(PartOutputs([better, branch], targets, horizon=3), "forecast", HEAD)

    assert mix.weights[0] >= 0.9


def test_errors_count_in_the_unit_of_the_target() -> None:
    # The recurrent part is right about the series with small numbers, the branch about the other.
    draw = np.random.default_rng(9)
    targets = torch.from_numpy(draw.normal(size=(400, 1)))
    is_large = torch.arange(400)[:, None] % 2 == 0
    errors = torch.from_numpy(draw.normal(0, 1, (400, 1)))
    recurrent, branch = targets + errors * is_large, targets + errors * ~is_large
    scale = torch.where(is_large, 1000.0, 1.0)

    def weigh(restore: Restore | None) -> float:
        return fit_mix(
            PartOutputs([recurrent, branch], targets, restore=restore, horizon=1), "forecast", HEAD
        ).weights[0]

    assert weigh(lambda numbers: numbers * scale) == 0.0
    assert weigh(None) > 0.2


def draw_equal_parts(seed: int, *, is_naive: bool, errors_differ: bool) -> PartOutputs:
    """Draw a recurrent part and a branch of equal skill, or one that adds noise to the branch."""
    draw = np.random.default_rng(seed)
    targets = torch.from_numpy(draw.normal(size=(160, 4)))
    branch = targets + torch.from_numpy(draw.normal(0, 0.5, (160, 4)))
    noise = torch.from_numpy(draw.normal(0, 0.5 if errors_differ else 0.05, (160, 4)))
    recurrent = (targets if errors_differ else branch) + noise
    return PartOutputs([recurrent, branch], targets, horizon=4, is_naive=is_naive)


def test_two_parts_of_equal_skill_with_independent_errors_are_both_used() -> None:
    shares = [
        fit_mix(draw_equal_parts(s, is_naive=False, errors_differ=True), "forecast", HEAD).weights
        for s in range(10)
    ]

    assert all(0.3 <= own <= 0.5 and own + other == pytest.approx(1.0) for own, other in shares)


def test_a_recurrent_part_that_is_hardly_better_has_no_more_than_a_half() -> None:
    draw = np.random.default_rng(3)
    targets = torch.from_numpy(draw.normal(size=(160, 4)))
    branch = targets + torch.from_numpy(draw.normal(0, 0.5, (160, 4)))
    # The same errors but for a little: a larger share is better, and nearly by chance.
    recurrent = branch - torch.from_numpy(draw.normal(0.01, 0.3, (160, 4))) * (branch - targets)

    mix = fit_mix(PartOutputs([recurrent, branch], targets, horizon=4), "forecast", HEAD)

    assert mix.weights[0] <= 0.5


def test_a_naive_best_branch_stays_alone_under_noise() -> None:
    def count_mixes(*, is_naive: bool) -> int:
        parts = (draw_equal_parts(s, is_naive=is_naive, errors_differ=False) for s in range(40))
        return sum(fit_mix(each, "forecast", HEAD).weights != (0.0, 1.0) for each in parts)

    # By two standard errors over eight blocks one of twenty is taken by chance.
    assert count_mixes(is_naive=True) <= 4
    assert count_mixes(is_naive=False) >= 10


def test_a_naive_best_branch_is_mixed_with_what_is_clearly_better() -> None:
    parts = draw_equal_parts(0, is_naive=True, errors_differ=True)

    assert fit_mix(parts, "forecast", HEAD).weights[0] >= 0.3


def test_equal_weights_give_way_where_a_branch_alone_is_better() -> None:
    codes = np.arange(30) % 3
    targets = torch.from_numpy(codes)[:, None]
    given_way = 0
    for seed in range(12):
        parts = [draw_logits(codes, 0.8, 2 * seed), draw_logits(codes, 0.9, 2 * seed + 1)]
        mix = fit_mix(PartOutputs(parts, targets, chose_epochs=True), "category", HEAD)
        losses = [
            float(functional.cross_entropy(mix_outputs(parts, each, "category"), targets[:, 0]))
            for each in (mix, replace(mix, weights=(0.0, 1.0)))
        ]
        assert losses[0] <= losses[1] + 1e-6
        given_way += 0 < mix.weights[0] < 0.5

    # In the other draws the mean is as good as the branch, or the recurrent part is dropped.
    assert given_way >= 3


@pytest.mark.parametrize(
    ("own", "other", "share"), [(0.6, 0.3, 0.2), (0.3, 0.3, 0.5), (0.2, 0.4, 0.5), (0.9, 0.3, 0.0)]
)
@pytest.mark.parametrize("loss", ["mae", "mse"])
def test_few_windows_are_weighed_by_the_inverse_of_squared_errors(
    own: float, other: float, share: float, loss: str
) -> None:
    targets = torch.zeros(8, 4, dtype=torch.float64)

    mix = fit_mix(
        PartOutputs([targets + own, targets - other], targets, horizon=4),
        "forecast",
        HeadConfig(loss=loss),
    )

    assert mix.weights == pytest.approx((share, 1 - share))
