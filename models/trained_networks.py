"""Networks that were trained by gradients: their files, and how they are combined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.errors import BundleError
from models.evaluation.baselines.served import Baseline
from models.features.config import TargetKind
from models.networks.blend import Blend
from models.networks.config import ModelConfig
from models.networks.ensemble import Ensemble
from models.networks.heads.config import HeadConfig
from models.networks.network import Network, NetworkSpec
from models.networks.selected_ensemble import PartSettings, SelectedEnsemble

AnyNetwork = Network | Ensemble | SelectedEnsemble | Blend | Baseline
"""What a bundle predicts with."""


def load_recurrent(
    folder: Path, spec: Mapping[str, Any], model: ModelConfig, network_spec: NetworkSpec
) -> Network | Ensemble | SelectedEnsemble:
    """Load what was trained by gradients: one network, an ensemble, or parts of several recipes.

    Raises:
        BundleError: it is damaged.
    """
    kind, head = network_spec.head.kind, network_spec.head.config
    try:
        settings = [
            PartSettings(**{**each, "model": ModelConfig.from_json(each["model"])})
            for each in spec["parts"]
        ]
        count = int(spec["networks"])
        models = [each.model for each in settings for _ in range(each.networks)] or [model] * count
        networks = []
        for name, own in zip(list_weight_files(count), models, strict=True):
            network = Network(own, network_spec)
            network.load_state_dict(load_file(folder / name))
            networks.append(network.eval())
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"{folder} holds a damaged model: {error!r}") from error
    if not settings:
        return combine_networks(networks, kind, head)
    remaining = iter(networks)
    parts = [
        combine_networks([next(remaining) for _ in range(each.networks)], kind, head)
        for each in settings
    ]
    return SelectedEnsemble(parts, kind, settings=settings)


def combine_networks(
    networks: list[Network], kind: TargetKind, head: HeadConfig
) -> Network | Ensemble:
    """Return the only network, or an ensemble of all."""
    return networks[0] if len(networks) == 1 else Ensemble(networks, kind, head)


def list_part_settings(network: AnyNetwork) -> tuple[PartSettings, ...]:
    """Return the settings of the parts of several recipes; empty where there is one recipe."""
    recurrent = network.recurrent if isinstance(network, Blend) else network
    return recurrent.settings if isinstance(recurrent, SelectedEnsemble) else ()


def save_module(module: torch.nn.Module, path: Path) -> None:
    """Write the parameters and buffers of a module."""
    tensors = {key: tensor.cpu().contiguous() for key, tensor in module.state_dict().items()}
    save_file(tensors, path)


def list_networks(network: AnyNetwork) -> list[Network]:
    """Return the networks that were trained by gradients: one, or the members of an ensemble."""
    recurrent = network.recurrent if isinstance(network, Blend) else network
    if isinstance(recurrent, Baseline):
        return []
    if isinstance(recurrent, Network):
        return [recurrent]
    if isinstance(recurrent, SelectedEnsemble):
        parts = [part for part in recurrent.parts if isinstance(part, (Network, Ensemble))]
        return [each for part in parts for each in list_networks(part)]
    return [member for member in recurrent.members if isinstance(member, Network)]


def find_device(network: AnyNetwork) -> torch.device:
    """Return the device of a network's weights; a baseline has none and reads from any."""
    weights = next(network.parameters(), None)
    return torch.device("cpu") if weights is None else weights.device


def list_weight_files(count: int) -> list[str]:
    """Return the names of the files that hold the weights of `count` networks."""
    if count == 1:
        return ["network.safetensors"]
    return [f"network_{number}.safetensors" for number in range(1, count + 1)]
