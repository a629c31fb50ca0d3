"""A convolutional network's features, read column by column from left to right.

After CRNN (Shi, Bai and Yao 2015): one step is a column of the feature map with all its channels
and heights, so that nothing is averaged before the recurrent layers.

Shapes: B images, T steps, H rows of pixels, W columns, D colors, K channels of the map, G its
height, C = K * G channels of a step.
"""

from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from models.errors import SetupError
from models.extras import describe_install
from models.features.feature_spec import Pixels
from models.features.image.config import ImageInput
from models.networks.inputs.pixel_scale import PixelScale

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of colors from 0 to 1, for models that do not record how their training images were scaled."""


class Backbone(nn.Module):
    """A timm model up to the stage that keeps one column for `stride` pixels."""

    def __init__(self, pixels: Pixels, config: ImageInput, *, pretrained: bool) -> None:
        super().__init__()
        if pixels.colors not in {1, 3}:
            raise SetupError(
                f"a backbone reads 1 or 3 colors, these images have {pixels.colors}; set "
                "color: rgb, or read rows, columns or patches"
            )
        timm = _import_timm()
        self.fine_tune = config.fine_tune
        self.body = _create_model(timm, config, pixels, pretrained=pretrained)
        self.body.requires_grad_(self.fine_tune)
        pretrained_config = self.body.pretrained_cfg
        self.bytes_scale = PixelScale(
            tuple(255 * mean for mean in pretrained_config.get("mean", IMAGENET_MEAN)),
            tuple(255 * std for std in pretrained_config.get("std", IMAGENET_STD)),
        )
        self.floats_scale = PixelScale(pixels.mean, pixels.std)
        self.body.eval()
        with torch.no_grad():
            probe_BHWD = torch.zeros(1, pixels.height, pixels.width, 3)
            self.steps, self.channels = self.read_columns(probe_BHWD).shape[1:]
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Switch to training; a frozen body stays in evaluation mode, with its own statistics."""
        super().train(mode)
        if not self.fine_tune:
            self.body.eval()
        return self

    def forward(self, pixels_BHWD: Tensor) -> Tensor:
        """Return [B, T, C]. Bytes are scaled as in the backbone's own training."""
        # Only bytes are known to run from black to white; other numbers are scaled by ours.
        scale = self.bytes_scale if pixels_BHWD.dtype == torch.uint8 else self.floats_scale
        colors_BHWD = scale(pixels_BHWD).expand(-1, -1, -1, 3)
        if self.fine_tune:
            return self.read_columns(colors_BHWD)
        with torch.no_grad():
            return self.read_columns(colors_BHWD)

    def read_columns(self, colors_BHWD: Tensor) -> Tensor:
        """Read the feature map from left to right, [B, T, K * G]."""
        map_BKGT: Tensor = self.body(colors_BHWD.movedim(3, 1).contiguous())[0]
        if map_BKGT.shape[1] != self.body.feature_info.channels()[0]:
            # Some transformers keep the channels behind.
            map_BKGT = map_BKGT.movedim(3, 1)
        return map_BKGT.flatten(1, 2).transpose(1, 2).contiguous()


def _import_timm() -> ModuleType:
    """Import timm, which is an optional package.

    Raises:
        SetupError: it is missing, or does not fit the torch that is here.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        # torchvision that was built for another torch fails with a RuntimeError.
        raise SetupError(
            f"sequence: a backbone needs timm, which cannot be imported here: {error}; run "
            f"{describe_install('images')}, with torch and torchvision of one release and one "
            "device (both from PyPI, or both from download.pytorch.org/whl/cpu)"
        ) from error
    module: ModuleType = timm
    return module


def _create_model(timm: ModuleType, config: ImageInput, pixels: Pixels, *, pretrained: bool) -> Any:  # noqa: ANN401 -- timm's wrapper has no type of its own
    """Build the model up to the stage of the configured stride.

    Raises:
        SetupError: says what is unknown or not available, and the fix.
    """
    name = str(config.backbone)
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name[:6]}*")[:5]) or "resnet18, convnext_atto"
        raise SetupError(f"backbone: timm has no model '{name}'; it has {similar}, and more")
    pretrained_config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"features_only": True}
    if pretrained_config and pretrained_config.fixed_input_size:
        options["img_size"] = (pixels.height, pixels.width)
    try:
        with torch.device("meta"):
            model = timm.create_model(name, **options)
        options["out_indices"] = (_find_stage(model.feature_info.reduction(), config),)
        if pretrained:
            return _load_pretrained(timm, config, options)
        return timm.create_model(name, **options)
    except (OSError, RuntimeError, AssertionError, KeyError) as error:
        raise SetupError(_describe_failure(config, error)) from error
    except (SafetensorError, UnpicklingError) as error:
        raise SetupError(_describe_failure(config, error)) from error


def _load_pretrained(timm: ModuleType, config: ImageInput, options: dict[str, Any]) -> Any:  # noqa: ANN401 -- as above
    """Build the model with its pretrained weights, every one of them.

    Raises:
        SetupError: a weight is missing from them, which timm would leave random.
    """
    if config.pretrained_weights:
        if not Path(config.pretrained_weights).is_file():
            raise SetupError(
                f"pretrained_weights: there is no file '{config.pretrained_weights}'; "
                "correct the path"
            )
        options = options | {"pretrained_cfg_overlay": {"file": config.pretrained_weights}}
    model, second_model = (_create_seeded(timm, config, options, seed=seed) for seed in (0, 1))
    second_weights = dict(second_model.named_parameters())
    # Weights from the file are equal in both models; missing ones are drawn from two seeds.
    missing = [
        name
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and not torch.equal(weight, second_weights[name])
    ]
    if missing:
        raise SetupError(
            f"pretrained_weights: {len(missing)} weights of '{config.backbone}' are not in "
            f"'{config.pretrained_weights or 'its hub'}', such as {missing[0]}; "
            "give a file saved from it"
        )
    return model


def _create_seeded(
    timm: ModuleType, config: ImageInput, options: dict[str, Any], *, seed: int
) -> Any:  # noqa: ANN401 -- as above
    """Build the model with its weights; those that the file lacks are drawn from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(config.backbone, pretrained=True, **options)


def _find_stage(strides: list[int], config: ImageInput) -> int:
    """Return the index of the last stage of the configured stride, counted from the end.

    Raises:
        SetupError: the model has none.
    """
    stages = [stage for stage, stride in enumerate(strides) if stride == config.feature_stride]
    if not stages:
        available = ", ".join(str(stride) for stride in sorted(set(strides)))
        raise SetupError(
            f"feature_stride: '{config.backbone}' has no stage of stride {config.feature_stride}; "
            f"it has {available}"
        )
    return stages[-1] - len(strides)


def _describe_failure(config: ImageInput, error: Exception) -> str:
    """Return the error message: the backbone or its weights are not available."""
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if config.pretrained_weights:
        return (
            f"pretrained_weights: '{config.pretrained_weights}' does not hold those of "
            f"'{config.backbone}' ({reason}); "
            "give a .safetensors or .pth file of its weights alone"
        )
    return (
        f"backbone: '{config.backbone}' is not available ({reason}); without a network, give its "
        "weights as a local file, such as pretrained_weights: resnet18.safetensors"
    )
