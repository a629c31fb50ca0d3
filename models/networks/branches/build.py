"""The branch that fits an input and a target, built from settings that a bundle can hold."""

from dataclasses import dataclass
from typing import get_args

from models.errors import UnlearnableError
from models.features.feature_spec import Numbers, Pixels, Tokens, Trees
from models.networks.branches.base import Branch, BranchSpec, BranchTarget
from models.networks.branches.columns import ColumnsBranch
from models.networks.branches.lookback import MAX_FEATURES, LookbackBranch
from models.networks.branches.ngrams import Detokenizer, NgramBranch
from models.networks.branches.patches import MIN_SIDE, PatchBranch
from models.networks.branches.rocket_ridge import RocketBranch
from models.networks.branches.transition import TransitionBranch
from models.networks.config import ClosedFormBranch
from models.networks.network import NetworkSpec
from models.networks.rocket import TAPS

CLOSED_FORM: tuple[ClosedFormBranch, ...] = get_args(ClosedFormBranch)

_TARGETS: dict[str, BranchTarget] = {
    "category": "category",
    "tags": "tags",
    "number": "number",
    "forecast": "number",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchSettings:
    """What a branch is built from, beside the input and the target."""

    kind: ClosedFormBranch
    wide: bool = False
    """rocket: whether the regression on many features is fitted too."""
    inverse_penalty: float = 1.0
    """ngrams and linear: C of the logistic regression."""
    lookback: int = 0
    """linear: steps of a window."""


def choose_branches(
    wanted: str, spec: NetworkSpec, *, windowed: bool, text: bool, max_length: int
) -> tuple[ClosedFormBranch, ...]:
    """Return the branches of `parallel_branch`; none where none is wanted, or fits.

    Args:
        wanted: the setting.
        spec: input and target.
        windowed: whether sequences are windows of one length.
        text: whether ids can be turned back into text.
        max_length: steps of the longest sequence in training.

    Raises:
        UnlearnableError: the branch that the job asks for does not fit.
    """
    fitting = _list_fitting(spec, windowed=windowed, text=text, max_length=max_length)
    if wanted == "auto":
        return tuple(fitting)
    if wanted not in CLOSED_FORM:
        return ()
    found = tuple(kind for kind in CLOSED_FORM if kind == wanted and kind in fitting)
    if not found:
        others = "".join(f"{kind}, " for kind in fitting)
        raise UnlearnableError(
            f"model.parallel_branch: '{wanted}' does not fit this input and target; "
            f"set {others}auto or none"
        )
    return found


def _list_fitting(
    spec: NetworkSpec, *, windowed: bool, text: bool, max_length: int
) -> list[ClosedFormBranch]:
    """Return the branches that fit the input and the target."""
    if spec.head.kind not in _TARGETS or spec.head.config.loss == "negative_binomial":
        return []
    if isinstance(spec.features, (Tokens, Trees)):
        return ["ngrams"] if text and spec.head.kind != "forecast" else []
    if isinstance(spec.features, Pixels):
        large = min(spec.features.height, spec.features.width) >= MIN_SIDE
        return ["patches"] if large and not windowed else []
    if not isinstance(spec.features, Numbers):
        return []
    fitting: list[ClosedFormBranch] = []
    if not windowed and max_length >= TAPS:
        fitting.append("rocket")
    if windowed and spec.label_channels and spec.head.kind == "category":
        fitting.append("transition")
    small = windowed or max_length * spec.features.channels <= MAX_FEATURES
    if small and spec.head.kind != "tags":
        fitting.append("linear")
    return fitting


def build_branch(
    settings: BranchSettings, spec: NetworkSpec, *, detokenize: Detokenizer | None
) -> Branch:
    """Build a branch that is not fitted yet."""
    branch = BranchSpec(
        _TARGETS[spec.head.kind], _count_outputs(spec), static_sizes=spec.statics.sizes
    )
    if settings.kind == "ngrams":
        assert detokenize is not None  # noqa: S101 - chosen for texts alone
        return NgramBranch(branch, detokenize, inverse_penalty=settings.inverse_penalty)
    if settings.kind == "patches":
        assert isinstance(spec.features, Pixels)  # noqa: S101 - chosen for images alone
        return PatchBranch(branch, spec.features)
    if settings.kind == "transition":
        return TransitionBranch(branch, label_channels=spec.label_channels)
    assert isinstance(spec.features, Numbers)  # noqa: S101 - chosen for numbers alone
    if settings.kind == "rocket":
        return RocketBranch(branch, spec.features.channels, wide=settings.wide)
    if spec.head.num_columns > 1:
        return ColumnsBranch(
            branch,
            channels=spec.features.channels,
            steps=settings.lookback,
            num_columns=spec.head.num_columns,
            own_channels=spec.target_channels,
        )
    return LookbackBranch(
        branch,
        channels=spec.features.channels,
        steps=settings.lookback,
        own_channel=next(iter(spec.target_channels), -1),
        inverse_penalty=settings.inverse_penalty,
    )


def _count_outputs(spec: NetworkSpec) -> int:
    """Return the number of outputs of a branch."""
    if spec.head.kind in {"category", "tags"}:
        return spec.head.num_classes
    return spec.head.horizon * spec.head.num_columns if spec.head.kind == "forecast" else 1
